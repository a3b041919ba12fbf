//! Texts merged by line: what both started from, mine and theirs. Pure.

/// Most pairs of lines that are compared; larger texts are a person's business.
const MAX_LCS_CELLS: usize = 4_000_000;

/// For each line of `a` that is also in `b`, in order, its place there: a longest common subsequence. None where that is too much work.
fn longest_common_subsequence(a: &[&str], b: &[&str]) -> Option<Vec<(usize, usize)>> {
    let before = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rest = a[before..].iter().rev().zip(b[before..].iter().rev());
    let after = rest.take_while(|(x, y)| x == y).count();
    let (left, right) = (&a[before..a.len() - after], &b[before..b.len() - after]);
    let width = right.len() + 1;
    if (left.len() + 1).checked_mul(width)? > MAX_LCS_CELLS {
        return None;
    }
    let mut longest = vec![0u32; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            longest[i * width + j] = if left[i] == right[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let mut pairs: Vec<(usize, usize)> = (0..before).map(|n| (n, n)).collect();
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        if left[i] == right[j] {
            pairs.push((before + i, before + j));
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs.extend((0..after).rev().map(|n| (a.len() - 1 - n, b.len() - 1 - n)));
    Some(pairs)
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffLine {
    /// It is in both texts.
    Kept,
    /// It was in the first text alone.
    Gone,
    /// It is in the second text alone.
    New,
}

/// How one text became another, line by line: what went comes before what came in its place. Texts that are too large to compare went whole.
pub fn diff_lines<'a>(before: &'a str, after: &'a str) -> Vec<(DiffLine, &'a str)> {
    let (a, b): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let mut lines = Vec::with_capacity(a.len().max(b.len()));
    let (mut i, mut j) = (0, 0);
    let pairs = longest_common_subsequence(&a, &b).unwrap_or_default();
    for (to_i, to_j) in pairs.into_iter().chain([(a.len(), b.len())]) {
        lines.extend(a[i..to_i].iter().map(|line| (DiffLine::Gone, *line)));
        lines.extend(b[j..to_j].iter().map(|line| (DiffLine::New, *line)));
        if to_i < a.len() {
            lines.push((DiffLine::Kept, a[to_i]));
        }
        (i, j) = (to_i + 1, to_j + 1);
    }
    lines
}

/// Merges two texts that began as `base`, line by line; none where both changed the same lines, or neighbouring ones, differently.
pub fn merge_lines(base: &str, mine: &str, theirs: &str) -> Option<String> {
    let [base, mine, theirs] = [base, mine, theirs].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    // A last line without its end is another line with it; texts that end differently are put side by side as they are.
    let (to_mine, to_theirs) = (longest_common_subsequence(&base, &mine)?, longest_common_subsequence(&base, &theirs)?);
    let mut place_in_mine = vec![None; base.len()];
    to_mine.iter().for_each(|(b, m)| place_in_mine[*b] = Some(*m));
    let mut place_in_theirs = vec![None; base.len()];
    to_theirs.iter().for_each(|(b, t)| place_in_theirs[*b] = Some(*t));
    let mut merged = String::new();
    let (mut b, mut m, mut t) = (0, 0, 0);
    loop {
        // The next line that all three have, or their ends.
        let anchor = (b..base.len()).find(|n| place_in_mine[*n].is_some() && place_in_theirs[*n].is_some());
        let (to_b, to_m, to_t) = match anchor {
            Some(n) => (n, place_in_mine[n].unwrap_or(m), place_in_theirs[n].unwrap_or(t)),
            None => (base.len(), mine.len(), theirs.len()),
        };
        let (was, my, their) = (&base[b..to_b], &mine[m..to_m], &theirs[t..to_t]);
        let kept = if my == was || my == their {
            their
        } else if their == was {
            my
        } else {
            return None;
        };
        kept.iter().for_each(|line| merged.push_str(line));
        let Some(n) = anchor else { return Some(merged) };
        merged.push_str(base[n]);
        (b, m, t) = (n + 1, to_m + 1, to_t + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_holds_both_texts() {
        use DiffLine::{Gone, Kept, New};
        assert_eq!(
            diff_lines("a\nb\nc", "a\nx\nc\nd"),
            [(Kept, "a"), (Gone, "b"), (New, "x"), (Kept, "c"), (New, "d")]
        );
        assert_eq!(diff_lines("", "a"), [(New, "a")]);
        assert_eq!(diff_lines("a", ""), [(Gone, "a")]);
        assert_eq!(diff_lines("a\n", "a"), [(Kept, "a")]);
    }
    use proptest::prelude::*;

    #[test]
    fn lines_that_lie_apart_merge_and_the_same_line_is_a_conflict() {
        let base = "one\ntwo\nthree\nfour\n";
        assert_eq!(
            merge_lines(base, "ONE\ntwo\nthree\nfour\n", "one\ntwo\nthree\nfour\nfive\n").as_deref(),
            Some("ONE\ntwo\nthree\nfour\nfive\n")
        );
        assert_eq!(merge_lines(base, "one\ntwo\nfour\n", "one\ntwo\nthree\nFOUR\n"), None);
        assert_eq!(merge_lines(base, "one\n2\nthree\nfour\n", "one\nzwei\nthree\nfour\n"), None);
        assert_eq!(merge_lines("", "mine", "theirs"), None);
        assert_eq!(merge_lines("a", "b", "b").as_deref(), Some("b"));
    }

    fn texts() -> impl Strategy<Value = String> {
        proptest::collection::vec("[a-d]", 0..12).prop_map(|lines| lines.into_iter().map(|l| l + "\n").collect())
    }

    proptest! {
        #[test]
        fn who_alone_changed_has_their_way(base in texts(), mine in texts()) {
            prop_assert_eq!(merge_lines(&base, &mine, &base), Some(mine.clone()));
            prop_assert_eq!(merge_lines(&base, &base, &mine), Some(mine.clone()));
            prop_assert_eq!(merge_lines(&base, &mine, &mine), Some(mine));
        }

        #[test]
        fn it_does_not_matter_who_is_who_and_no_new_line_is_lost(base in texts(), mine in texts(), theirs in texts()) {
            let merged = merge_lines(&base, &mine, &theirs);
            prop_assert_eq!(&merged, &merge_lines(&base, &theirs, &mine));
            if let Some(merged) = merged {
                let count = |text: &str, line: &str| text.lines().filter(|l| *l == line).count();
                for line in ["a", "b", "c", "d"] {
                    let added = |text: &str| count(text, line).saturating_sub(count(&base, line));
                    prop_assert!(count(&merged, line) >= added(&mine).max(added(&theirs)));
                }
            }
        }
    }
}
