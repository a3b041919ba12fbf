//! What a file is, told by its contents and never by what its sender says; what it is called; and how a browser may be shown it. Pure. Nothing that a browser would
//! run may ever come out of here as something to be shown.

/// What is said of bytes that nobody knows.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// Longest name, in characters, as of anything here.
const MAX_FILENAME_LEN: usize = 500;

/// The media type of what begins with `head`; `name` says only which text a text is.
pub fn sniff(head: &[u8], name: &str, whole: bool) -> &'static str {
    if let Some(kind) = infer::get(head) {
        return kind.mime_type();
    }
    if head.is_empty() || !is_text(head, whole) {
        return OCTET_STREAM;
    }
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    let begins = text.trim_start_matches('\u{feff}').trim_start().get(..512.min(text.len())).unwrap_or(&text);
    let begins = begins.to_ascii_lowercase();
    // A picture that is a program, too.
    if begins.contains("<svg") {
        return "image/svg+xml";
    }
    if ["<!doctype html", "<html", "<head", "<body", "<script", "<iframe"].iter().any(|tag| begins.contains(tag)) {
        return "text/html";
    }
    match ending.as_str() {
        "csv" => "text/csv",
        "md" | "markdown" => "text/markdown",
        "json" => "application/json",
        "xml" => "text/xml",
        _ => "text/plain",
    }
}

/// Whether bytes are a text in UTF-8; where they are not the whole, its last letter may be cut.
fn is_text(head: &[u8], whole: bool) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => !whole && error.error_len().is_none(),
    };
    valid && !head.iter().any(|b| *b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
}

/// How a browser may show it: the type to say, and whether it may be shown in a page at all. Anything else is only to be kept.
pub fn inline_media_type(media_type: &str) -> Option<&'static str> {
    const SHOWN: [&str; 7] =
        ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "application/pdf"];
    SHOWN.into_iter().find(|kind| *kind == media_type)
}

/// The name of a file without the way to it, without what would hide or break it; `file` where nothing is left.
pub fn sanitize_filename(sent: &str) -> String {
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    // Marks that turn the direction of writing would let 'exe.gpj' read 'jpg.exe'.
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let clean: String = last.chars().filter(|c| !hides(*c)).take(MAX_FILENAME_LEN).collect();
    let clean = clean.trim();
    if clean.is_empty() || clean.chars().all(|c| c == '.') { "file".to_owned() } else { clean.to_owned() }
}

/// A Content-Disposition with a name in any letters (RFC 6266).
pub fn disposition(shown: bool, name: &str) -> String {
    let how = if shown { "inline" } else { "attachment" };
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%' | ';') || c == ' ' { c } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_is_what_its_bytes_say() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert_eq!(sniff(png, "report.html", true), "image/png");
        assert_eq!(sniff(b"%PDF-1.7\n", "x.png", true), "application/pdf");
        assert_eq!(sniff(b"<!doctype html><script>alert(1)</script>", "photo.png", true), "text/html");
        assert_eq!(sniff(b"\n\n  <HTML>", "a.txt", true), "text/html");
        assert_eq!(sniff(b"hello <script>", "a.txt", true), "text/html");
        assert_eq!(
            sniff(b"<?xml version=\"1.0\"?><svg onload=alert(1)>", "logo.png", true),
            "text/xml",
            "shown as little as the picture"
        );
        assert_eq!(sniff(b"a;b\n1;2\n", "rows.CSV", true), "text/csv");
        assert_eq!(sniff("Grüße".as_bytes(), "note", true), "text/plain");
        assert_eq!(
            sniff(&"Grüße".as_bytes()[..4], "note", false),
            "text/plain",
            "a letter may be cut where more comes"
        );
        assert_eq!(sniff(&"Grüße".as_bytes()[..3], "note", true), OCTET_STREAM);
        assert_eq!((sniff(b"", "empty.txt", true), sniff(b"\0\x01\x02", "a.txt", true)), (OCTET_STREAM, OCTET_STREAM));
    }

    #[test]
    fn nothing_that_a_browser_runs_is_shown() {
        for kind in [
            "text/html",
            "image/svg+xml",
            "text/xml",
            "application/xhtml+xml",
            "application/javascript",
            "text/plain",
            OCTET_STREAM,
        ] {
            assert_eq!(inline_media_type(kind), None, "{kind}");
        }
        assert_eq!(
            (inline_media_type("image/png"), inline_media_type("application/pdf")),
            (Some("image/png"), Some("application/pdf"))
        );
    }

    #[test]
    fn a_name_is_no_way() {
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
    fn a_disposition_is_one_line_of_ascii() {
        assert_eq!(
            disposition(false, "Plan \"A\".pdf"),
            "attachment; filename=\"Plan _A_.pdf\"; filename*=UTF-8''Plan%20%22A%22.pdf"
        );
        assert_eq!(disposition(true, "é.png"), "inline; filename=\"_.png\"; filename*=UTF-8''%C3%A9.png");
    }

    proptest! {
        #[test]
        fn any_name_is_harmless(sent in ".{0,600}") {
            let clean = sanitize_filename(&sent);
            prop_assert!(!clean.is_empty() && clean.chars().count() <= 500);
            prop_assert!(!clean.contains(['/', '\\', '\0', '\n']) && clean != ".." && clean != ".");
            let line = disposition(false, &clean);
            prop_assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
            prop_assert_eq!(line.matches('"').count(), 2);
        }

        #[test]
        fn any_bytes_have_a_kind(head in prop::collection::vec(any::<u8>(), 0..200)) {
            let kind = sniff(&head, "x.bin", true);
            prop_assert!(kind.contains('/'));
        }
    }
}
