//! Mentions of people in a text.

use crate::ui::markdown::MENTION;
use pmo_domain::sort;

/// Replaces each `@Name` in `text` by a Markdown link with the id of the person.
///
/// Returns the new text and the ids of the mentioned people.
pub(super) fn resolve_mentions(text: &str, people: &[(String, String)]) -> (String, Vec<String>) {
    let mut out = text.to_owned();
    let mut mentioned = Vec::new();
    // Longer names first, so that 'Ada King' is not read as 'Ada'.
    for (id, name) in sort::sorted_by_key(people.to_vec(), |(_, name)| std::cmp::Reverse(name.len())) {
        let literal = format!("@{name}");
        let mention = format!("@\u{200b}[{}]({MENTION}{id})", name.replace(['[', ']'], ""));
        let mut from = 0;
        while let Some(at) = out[from..].find(&literal).map(|at| at + from).filter(|_| !name.is_empty()) {
            let end = at + literal.len();
            // A mention must not be part of a longer word.
            let is_boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            if is_boundary(out[..at].chars().next_back()) && is_boundary(out[end..].chars().next()) {
                out.replace_range(at..end, &mention);
                from = at + mention.len();
                if !mentioned.contains(&id) {
                    mentioned.push(id.clone());
                }
            } else {
                from = end;
            }
        }
    }
    (out.replace('\u{200b}', ""), mentioned)
}

/// Returns the partial name after an `@` at the end of `before`, or `None` if no mention is typed.
pub(super) fn mention_prefix(before: &str) -> Option<&str> {
    let (start, typed) = before.rsplit_once('@')?;
    let at_word_start = start.chars().next_back().is_none_or(|c| c.is_whitespace() || c == '(');
    (at_word_start && !typed.contains('\n') && typed.chars().count() <= 40 && typed.split(' ').count() <= 3)
        .then_some(typed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn names_are_replaced_by_mentions() {
        let people = [("1", "Ada"), ("2", "Ada King"), ("3", "Eve")].map(|(id, name)| (id.to_owned(), name.to_owned()));
        let (text, mentioned) = resolve_mentions("@Ada King and @Ada, not Eve", &people);
        assert_eq!(text, "@[Ada King](person:2) and @[Ada](person:1), not Eve");
        assert_eq!(mentioned, ["2", "1"]);
        assert_eq!(resolve_mentions("x@Ada @Adam", &people), ("x@Ada @Adam".to_owned(), Vec::new()));
    }

    #[wasm_bindgen_test]
    fn mention_prefix_is_found_after_at_sign() {
        assert_eq!(mention_prefix("ask @Ad"), Some("Ad"));
        assert_eq!(mention_prefix("@"), Some(""));
        assert_eq!(mention_prefix("(@Ada King"), Some("Ada King"));
        for text in ["a@example", "none", "@Ada\nnext", "@one two three four"] {
            assert_eq!(mention_prefix(text), None, "{text}");
        }
    }
}
