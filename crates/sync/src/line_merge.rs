//! Line diff and three-way merge of texts by line (`diff3`). Pure functions.

/// Maximum number of cells of the table of the longest common subsequence.
///
/// Larger texts are not compared line by line: a merge of them is a conflict.
const MAX_LCS_CELLS: usize = 4_000_000;

/// Returns the longest common subsequence of two line lists, as index pairs in ascending order.
///
/// Returns `None` if the table would exceed [`MAX_LCS_CELLS`] cells.
fn longest_common_subsequence(a: &[&str], b: &[&str]) -> Option<Vec<(usize, usize)>> {
    // The common prefix and suffix need no table.
    let prefix = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rest = a[prefix..].iter().rev().zip(b[prefix..].iter().rev());
    let suffix = rest.take_while(|(x, y)| x == y).count();
    let (left, right) = (&a[prefix..a.len() - suffix], &b[prefix..b.len() - suffix]);
    let width = right.len() + 1;
    if (left.len() + 1).checked_mul(width)? > MAX_LCS_CELLS {
        return None;
    }
    // Length of the longest common subsequence of the lines from `i` and from `j` on.
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
    let mut pairs: Vec<(usize, usize)> = (0..prefix).map(|n| (n, n)).collect();
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        if left[i] == right[j] {
            pairs.push((prefix + i, prefix + j));
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs.extend((0..suffix).rev().map(|n| (a.len() - 1 - n, b.len() - 1 - n)));
    Some(pairs)
}

/// Change of a line between two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffLine {
    /// Line in both texts.
    Unchanged,
    /// Line in the first text only.
    Removed,
    /// Line in the second text only.
    Added,
}

/// Returns the line diff of two texts; removed lines come before the lines that replace them.
///
/// If the texts are too large to compare, all lines of the first are removed and all lines of the
/// second are new.
pub fn diff_lines<'a>(before: &'a str, after: &'a str) -> Vec<(DiffLine, &'a str)> {
    let (a, b): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let mut lines = Vec::with_capacity(a.len().max(b.len()));
    let (mut i, mut j) = (0, 0);
    let pairs = longest_common_subsequence(&a, &b).unwrap_or_default();
    for (to_i, to_j) in pairs.into_iter().chain([(a.len(), b.len())]) {
        lines.extend(a[i..to_i].iter().map(|line| (DiffLine::Removed, *line)));
        lines.extend(b[j..to_j].iter().map(|line| (DiffLine::Added, *line)));
        if to_i < a.len() {
            lines.push((DiffLine::Unchanged, a[to_i]));
        }
        (i, j) = (to_i + 1, to_j + 1);
    }
    lines
}

/// Merges two texts that were derived from `base`, line by line.
///
/// Returns `None` if both changed the same or adjacent lines differently, or if the texts are too
/// large to compare.
pub fn merge_lines(base: &str, mine: &str, theirs: &str) -> Option<String> {
    let [base, mine, theirs] = [base, mine, theirs].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    // A line includes its line break: a last line without one differs from the same line with one.
    let (to_mine, to_theirs) = (longest_common_subsequence(&base, &mine)?, longest_common_subsequence(&base, &theirs)?);
    let mut index_in_mine = vec![None; base.len()];
    to_mine.iter().for_each(|(b, m)| index_in_mine[*b] = Some(*m));
    let mut index_in_theirs = vec![None; base.len()];
    to_theirs.iter().for_each(|(b, t)| index_in_theirs[*b] = Some(*t));
    let mut merged = String::new();
    let (mut b, mut m, mut t) = (0, 0, 0);
    loop {
        // The next line that all three texts have in common, or the end of each.
        let anchor = (b..base.len()).find(|n| index_in_mine[*n].is_some() && index_in_theirs[*n].is_some());
        let (to_b, to_m, to_t) = match anchor {
            Some(n) => (n, index_in_mine[n].unwrap_or(m), index_in_theirs[n].unwrap_or(t)),
            None => (base.len(), mine.len(), theirs.len()),
        };
        let (base_part, my_part, their_part) = (&base[b..to_b], &mine[m..to_m], &theirs[t..to_t]);
        let chosen = if my_part == base_part || my_part == their_part {
            their_part
        } else if their_part == base_part {
            my_part
        } else {
            return None;
        };
        chosen.iter().for_each(|line| merged.push_str(line));
        let Some(n) = anchor else { return Some(merged) };
        merged.push_str(base[n]);
        (b, m, t) = (n + 1, to_m + 1, to_t + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diff_contains_the_lines_of_both_texts() {
        use DiffLine::{Added, Removed, Unchanged};
        assert_eq!(
            diff_lines("a\nb\nc", "a\nx\nc\nd"),
            [(Unchanged, "a"), (Removed, "b"), (Added, "x"), (Unchanged, "c"), (Added, "d")]
        );
        assert_eq!(diff_lines("", "a"), [(Added, "a")]);
        assert_eq!(diff_lines("a", ""), [(Removed, "a")]);
        assert_eq!(diff_lines("a\n", "a"), [(Unchanged, "a")]);
    }
    use proptest::prelude::*;

    #[test]
    fn changes_of_separate_lines_merge_and_of_the_same_line_conflict() {
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
        fn change_of_one_side_is_taken(base in texts(), mine in texts()) {
            prop_assert_eq!(merge_lines(&base, &mine, &base), Some(mine.clone()));
            prop_assert_eq!(merge_lines(&base, &base, &mine), Some(mine.clone()));
            prop_assert_eq!(merge_lines(&base, &mine, &mine), Some(mine));
        }

        #[test]
        fn merge_is_symmetric_and_keeps_added_lines(base in texts(), mine in texts(), theirs in texts()) {
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
