//! Tests of the rules, and property tests.
