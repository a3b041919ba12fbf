//! Media type detection by content, file names, and inline display rules. Pure.
//!
//! The type that the client declares is ignored.
//!
//! Must not: allow inline display of a type that a browser could execute.

/// Media type of unknown content.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// Maximum length of a file name, in characters, as for any other name.
const MAX_FILENAME_LEN: usize = 500;

/// Detects the media type of content that begins with `head`.
///
/// `name` only selects among text formats by its extension; `complete` states that `head` is the
/// whole content.
pub fn sniff(head: &[u8], name: &str, complete: bool) -> &'static str {
    if let Some(file_type) = infer::get(head) {
        return file_type.mime_type();
    }
    if head.is_empty() || !is_text(head, complete) {
        return OCTET_STREAM;
    }
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    let beginning = text.trim_start_matches('\u{feff}').trim_start().get(..512.min(text.len())).unwrap_or(&text);
    let beginning = beginning.to_ascii_lowercase();
    // SVG images can contain scripts.
    if beginning.contains("<svg") {
        return "image/svg+xml";
    }
    if ["<!doctype html", "<html", "<head", "<body", "<script", "<iframe"].iter().any(|tag| beginning.contains(tag)) {
        return "text/html";
    }
    match extension.as_str() {
        "csv" => "text/csv",
        "md" | "markdown" => "text/markdown",
        "json" => "application/json",
        "xml" => "text/xml",
        _ => "text/plain",
    }
}

/// Returns whether `head` is UTF-8 text.
///
/// If `head` is not the whole content, its last character may be incomplete.
fn is_text(head: &[u8], complete: bool) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => !complete && error.error_len().is_none(),
    };
    valid && !head.iter().any(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
}

/// Returns the type to send for inline display.
///
/// Returns `None` for types that must be downloaded.
pub fn inline_media_type(media_type: &str) -> Option<&'static str> {
    const INLINE: [&str; 7] =
        ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "application/pdf"];
    INLINE.into_iter().find(|inline| *inline == media_type)
}

/// Returns a file name without path, control characters and invisible characters.
///
/// Returns `file` if no other characters are left.
pub fn sanitize_filename(name: &str) -> String {
    let base_name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    // Bidirectional override characters could make `exe.gpj` appear as `jpg.exe`.
    let is_hidden = |ch: char| {
        ch.is_control()
            || matches!(ch, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let clean: String = base_name.chars().filter(|ch| !is_hidden(*ch)).take(MAX_FILENAME_LEN).collect();
    let clean = clean.trim();
    if clean.is_empty() || clean.chars().all(|ch| ch == '.') { "file".to_owned() } else { clean.to_owned() }
}

/// Builds a Content-Disposition header value; non-ASCII names are encoded as in RFC 6266.
pub fn disposition(inline: bool, name: &str) -> String {
    let disposition_type = if inline { "inline" } else { "attachment" };
    let ascii_name: String = name
        .chars()
        .map(|ch| if ch.is_ascii_graphic() && !matches!(ch, '"' | '\\' | '%' | ';') || ch == ' ' { ch } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    format!("{disposition_type}; filename=\"{ascii_name}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn media_type_is_detected_from_content() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert_eq!(sniff(png, "report.html", true), "image/png");
        assert_eq!(sniff(b"%PDF-1.7\n", "x.png", true), "application/pdf");
        assert_eq!(sniff(b"<!doctype html><script>alert(1)</script>", "photo.png", true), "text/html");
        assert_eq!(sniff(b"\n\n  <HTML>", "a.txt", true), "text/html");
        assert_eq!(sniff(b"hello <script>", "a.txt", true), "text/html");
        assert_eq!(
            sniff(b"<?xml version=\"1.0\"?><svg onload=alert(1)>", "logo.png", true),
            "text/xml",
            "not displayed inline either"
        );
        assert_eq!(sniff(b"a;b\n1;2\n", "rows.CSV", true), "text/csv");
        assert_eq!(sniff("Grüße".as_bytes(), "note", true), "text/plain");
        assert_eq!(
            sniff(&"Grüße".as_bytes()[..4], "note", false),
            "text/plain",
            "the last character may be incomplete if more content follows"
        );
        assert_eq!(sniff(&"Grüße".as_bytes()[..3], "note", true), OCTET_STREAM);
        assert_eq!((sniff(b"", "empty.txt", true), sniff(b"\0\x01\x02", "a.txt", true)), (OCTET_STREAM, OCTET_STREAM));
    }

    #[test]
    fn executable_types_are_not_displayed_inline() {
        for media_type in [
            "text/html",
            "image/svg+xml",
            "text/xml",
            "application/xhtml+xml",
            "application/javascript",
            "text/plain",
            OCTET_STREAM,
        ] {
            assert_eq!(inline_media_type(media_type), None, "{media_type}");
        }
        assert_eq!(
            (inline_media_type("image/png"), inline_media_type("application/pdf")),
            (Some("image/png"), Some("application/pdf"))
        );
    }

    #[test]
    fn file_names_contain_no_path() {
        assert_eq!(sanitize_filename("../../x"), "x");
        assert_eq!(sanitize_filename("C:\\Users\\me\\plan.pdf"), "plan.pdf");
        assert_eq!(
            (sanitize_filename("a/.."), sanitize_filename(""), sanitize_filename("\0\n"), sanitize_filename("/")),
            ("file".into(), "file".into(), "file".into(), "file".into())
        );
        assert_eq!(sanitize_filename("invoice\u{202e}fdp.exe"), "invoicefdp.exe");
        assert_eq!(sanitize_filename(" Ümläut 日本.txt "), "Ümläut 日本.txt");
    }

    #[test]
    fn disposition_is_one_ascii_line() {
        assert_eq!(
            disposition(false, "Plan \"A\".pdf"),
            "attachment; filename=\"Plan _A_.pdf\"; filename*=UTF-8''Plan%20%22A%22.pdf"
        );
        assert_eq!(disposition(true, "é.png"), "inline; filename=\"_.png\"; filename*=UTF-8''%C3%A9.png");
    }

    proptest! {
        #[test]
        fn any_name_is_sanitized(name in ".{0,600}") {
            let clean = sanitize_filename(&name);
            prop_assert!(!clean.is_empty() && clean.chars().count() <= 500);
            prop_assert!(!clean.contains(['/', '\\', '\0', '\n']) && clean != ".." && clean != ".");
            let header = disposition(false, &clean);
            prop_assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header}");
            prop_assert_eq!(header.matches('"').count(), 2);
        }

        #[test]
        fn any_content_has_a_media_type(head in prop::collection::vec(any::<u8>(), 0..200)) {
            let media_type = sniff(&head, "x.bin", true);
            prop_assert!(media_type.contains('/'));
        }
    }
}
