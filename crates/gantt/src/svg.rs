//! Scene as an SVG file. Texts are escaped.

use crate::scene::{Align, Dash, Paint, Point, Scene, Shape, TextStyle};
use std::fmt::Write;

/// Colors of an SVG file.
pub trait Palette {
    /// Returns a color in the syntax of SVG, such as `#1f6feb` or `rgb(0 0 0 / 0.1)`.
    fn color(&self, paint: Paint) -> &str;
}

/// Returns a text for use in XML: markup is escaped, and characters that XML forbids are removed.
pub fn escape_xml(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c < ' ' || matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
}

/// Appends a scene as an SVG document of a size in pixels; `title` names it for screen readers.
pub fn write_svg(scene: &Scene, (width, height): (f64, f64), title: &str, palette: &dyn Palette, out: &mut String) {
    // Writing to a string never fails.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
         font-family=\"Inter Variable, Inter, sans-serif\" role=\"img\"><title>",
        w = Number(width),
        h = Number(height)
    );
    escape_xml(title, out);
    out.push_str("</title>");
    for shape in scene.shapes() {
        write_shape(scene, shape, palette, out);
    }
    out.push_str("</svg>\n");
}

/// Number with at most two decimals; 0 for what is not a number.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounded = (self.0 * 100.0).round() / 100.0;
        if !rounded.is_finite() {
            return formatter.write_str("0");
        }
        // Adding zero turns −0 into 0.
        write!(formatter, "{}", rounded + 0.0)
    }
}

fn write_points(points: &[Point], out: &mut String) {
    for point in points {
        let _ = write!(out, "{},{} ", Number(point.x), Number(point.y));
    }
}

fn write_color(name: &str, palette: &dyn Palette, paint: Paint, out: &mut String) {
    let _ = write!(out, " {name}=\"");
    escape_xml(palette.color(paint), out);
    out.push('"');
}

fn write_stroke(palette: &dyn Palette, paint: Paint, stroke: f64, dash: Dash, out: &mut String) {
    write_color("stroke", palette, paint, out);
    let _ = write!(out, " stroke-width=\"{}\" fill=\"none\"", Number(stroke));
    if dash == Dash::Dashed {
        out.push_str(" stroke-dasharray=\"4 3\"");
    }
}

fn write_shape(scene: &Scene, shape: &Shape, palette: &dyn Palette, out: &mut String) {
    let area = |at: &Point, width: f64, height: f64, out: &mut String| {
        let (x, y, width, height) = (Number(at.x), Number(at.y), Number(width.max(0.0)), Number(height.max(0.0)));
        let _ = write!(out, " x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"");
    };
    let corners = |radius: f64, out: &mut String| {
        if radius > 0.0 {
            let _ = write!(out, " rx=\"{}\"", Number(radius));
        }
    };
    match shape {
        Shape::Rect { at, width, height, radius, paint } => {
            out.push_str("<rect");
            area(at, *width, *height, out);
            corners(*radius, out);
            write_color("fill", palette, *paint, out);
            out.push_str("/>");
        }
        Shape::Frame { at, width, height, radius, paint, stroke, dash } => {
            out.push_str("<rect");
            area(at, *width, *height, out);
            corners(*radius, out);
            write_stroke(palette, *paint, *stroke, *dash, out);
            out.push_str("/>");
        }
        Shape::Path { points, paint, stroke, dash } => {
            out.push_str("<polyline points=\"");
            write_points(scene.points(points), out);
            out.push('"');
            write_stroke(palette, *paint, *stroke, *dash, out);
            out.push_str("/>");
        }
        Shape::Polygon { points, paint } => {
            out.push_str("<polygon points=\"");
            write_points(scene.points(points), out);
            out.push('"');
            write_color("fill", palette, *paint, out);
            out.push_str("/>");
        }
        Shape::Text { at, text, style, paint, align } => {
            write_text(scene.text(text), at, (*style, *paint, *align), palette, out);
        }
        Shape::BeginClip { at, width, height } => {
            // A nested document clips its content to its size.
            out.push_str("<svg");
            area(at, *width, *height, out);
            let _ = write!(
                out,
                " viewBox=\"{} {} {} {}\">",
                Number(at.x),
                Number(at.y),
                Number(width.max(0.0)),
                Number(height.max(0.0))
            );
        }
        Shape::EndClip => out.push_str("</svg>"),
    }
}

fn write_text(
    text: &str,
    at: &Point,
    (style, paint, align): (TextStyle, Paint, Align),
    palette: &dyn Palette,
    out: &mut String,
) {
    // Programs disagree on dominant-baseline, so the baseline is computed.
    let baseline = at.y + style.size() * 0.35;
    let _ = write!(out, "<text x=\"{}\" y=\"{}\"", Number(at.x), Number(baseline));
    let _ = write!(out, " font-size=\"{}\" font-weight=\"{}\"", Number(style.size()), style.weight());
    if align == Align::End {
        out.push_str(" text-anchor=\"end\"");
    }
    write_color("fill", palette, paint, out);
    out.push('>');
    escape_xml(text, out);
    out.push_str("</text>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Grey;
    impl Palette for Grey {
        fn color(&self, _: Paint) -> &str {
            "#888"
        }
    }

    fn svg(scene: &Scene, title: &str) -> String {
        let mut out = String::new();
        write_svg(scene, (200.0, 100.0), title, &Grey, &mut out);
        out
    }

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        escape_xml(text, &mut out);
        out
    }

    proptest! {
        #[test]
        fn no_text_can_add_markup(text in any::<String>()) {
            let mut scene = Scene::default();
            scene.label((1.0, 2.0), TextStyle::Body, Paint::Text, Align::End, &text);
            let out = svg(&scene, &text);
            prop_assert_eq!(out.matches('<').count(), 6, "svg, title and text, each opened and closed");
            prop_assert!(!out.trim_end().chars().any(|c| c.is_control()));
        }

        #[test]
        fn hostile_numbers_are_written_as_numbers(x in proptest::num::f64::ANY, width in proptest::num::f64::ANY) {
            let mut scene = Scene::default();
            scene.rect((x, 0.0, width, 1.0), 0.0, Paint::Bar);
            let out = svg(&scene, "");
            prop_assert!(!out.contains("NaN") && !out.contains("inf"));
        }
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escaped("<b a=\"1\">&'\u{0}\n"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39; ");
    }

    #[test]
    fn a_clip_is_a_nested_document() {
        let mut scene = Scene::default();
        scene.begin_clip((10.0, 20.0, 30.0, 40.0));
        scene.frame((0.0, 0.0, 5.5, 6.0), 2.0, Paint::Focus, 1.5, Dash::Dashed);
        scene.end_clip();
        let out = svg(&scene, "Plan");
        assert!(out.contains("<svg x=\"10\" y=\"20\" width=\"30\" height=\"40\" viewBox=\"10 20 30 40\">"), "{out}");
        assert!(out.contains("<rect x=\"0\" y=\"0\" width=\"5.5\" height=\"6\" rx=\"2\" stroke=\"#888\""), "{out}");
        assert!(out.ends_with("</svg></svg>\n"));
    }
}
