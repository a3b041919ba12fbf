//! Microsoft Project XML (MSPDI): reads files and converts them to plans. Pure.
