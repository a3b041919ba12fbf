//! List of shapes that a canvas paints or an SVG file contains.

use std::ops::Range;

/// Meaning of a color; a painter maps it to the color of the theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Paint {
    /// Background.
    Surface,
    /// Background of the selected row.
    Selected,
    /// Background of the row under the pointer.
    Hover,
    /// Non-working time.
    NonWorking,
    /// Line between rows.
    RowLine,
    /// Line between parts of the header.
    Line,
    /// Part of a bar that is to be done.
    Bar,
    /// Part of a bar that is done.
    BarDone,
    /// Part of a critical bar that is to be done.
    Critical,
    /// Part of a critical bar that is done, and the critical path.
    CriticalDone,
    /// Summary, and milestone that is not reached.
    Summary,
    /// Milestone that is reached.
    Reached,
    /// Link.
    Arrow,
    /// Line of today.
    Today,
    /// Strongest text.
    Text,
    /// Text of labels.
    TextSoft,
    /// Text of the header.
    TextFaint,
    /// Background of a label.
    LabelBack,
    /// Slack of a bar.
    Slack,
    /// Deadline that is met.
    Deadline,
    /// Deadline that is missed, and links that are refused.
    Danger,
    /// Bar of a baseline.
    Baseline,
    /// Mark of a constraint or a manual task.
    Mark,
    /// Outline of unsent changes.
    Unsent,
    /// Outline of the focused bar, and the link in hand.
    Focus,
}

impl Paint {
    /// All paints, in order of their numbers.
    pub const ALL: [Self; 25] = [
        Self::Surface,
        Self::Selected,
        Self::Hover,
        Self::NonWorking,
        Self::RowLine,
        Self::Line,
        Self::Bar,
        Self::BarDone,
        Self::Critical,
        Self::CriticalDone,
        Self::Summary,
        Self::Reached,
        Self::Arrow,
        Self::Today,
        Self::Text,
        Self::TextSoft,
        Self::TextFaint,
        Self::LabelBack,
        Self::Slack,
        Self::Deadline,
        Self::Danger,
        Self::Baseline,
        Self::Mark,
        Self::Unsent,
        Self::Focus,
    ];
}

/// Font of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextStyle {
    /// Labels and header.
    Small,
    /// Emphasized labels.
    SmallStrong,
    /// Table.
    Body,
    /// Summaries in the table.
    BodyStrong,
    /// Title of a page.
    Title,
}

impl TextStyle {
    /// Returns the size of the font in pixels.
    pub const fn size(self) -> f64 {
        match self {
            Self::Small | Self::SmallStrong => 11.0,
            Self::Body | Self::BodyStrong => 13.0,
            Self::Title => 18.0,
        }
    }

    /// Returns the weight of the font.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Body => 430,
            Self::Small => 530,
            Self::SmallStrong | Self::BodyStrong | Self::Title => 620,
        }
    }
}

/// Side of a text at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// The text begins at the position.
    Start,
    /// The text ends at the position.
    End,
}

/// Pattern of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dash {
    /// Without gaps.
    Solid,
    /// Short dashes.
    Dashed,
}

/// Position in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Distance from the left edge.
    pub x: f64,
    /// Distance from the upper edge.
    pub y: f64,
}

/// Shape; points and texts are ranges in the scene.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Filled rectangle with rounded corners.
    Rect {
        /// Upper left corner.
        at: Point,
        /// Width.
        width: f64,
        /// Height.
        height: f64,
        /// Radius of the corners.
        radius: f64,
        /// Color.
        paint: Paint,
    },
    /// Outline of a rectangle with rounded corners.
    Frame {
        /// Upper left corner.
        at: Point,
        /// Width.
        width: f64,
        /// Height.
        height: f64,
        /// Radius of the corners.
        radius: f64,
        /// Color.
        paint: Paint,
        /// Width of the line.
        stroke: f64,
        /// Pattern of the line.
        dash: Dash,
    },
    /// Connected lines.
    Path {
        /// Corners, in [`Scene::points`].
        points: Range<u32>,
        /// Color.
        paint: Paint,
        /// Width of the line.
        stroke: f64,
        /// Pattern of the line.
        dash: Dash,
    },
    /// Filled polygon.
    Polygon {
        /// Corners, in [`Scene::points`].
        points: Range<u32>,
        /// Color.
        paint: Paint,
    },
    /// Line of text, centered vertically at its position.
    Text {
        /// Position.
        at: Point,
        /// Text, in [`Scene::text`].
        text: Range<u32>,
        /// Font.
        style: TextStyle,
        /// Color.
        paint: Paint,
        /// Side of the text at the position.
        align: Align,
    },
    /// Hides what follows outside of a rectangle, until [`Shape::EndClip`].
    BeginClip {
        /// Upper left corner.
        at: Point,
        /// Width.
        width: f64,
        /// Height.
        height: f64,
    },
    /// Ends the last [`Shape::BeginClip`].
    EndClip,
}

/// Measures texts.
pub trait Measure {
    /// Returns the width of a text in pixels.
    fn width(&mut self, text: &str, style: TextStyle) -> f64;
}

/// Returns the approximate width of a text in pixels, where the font cannot be measured.
pub fn estimated_width(text: &str, style: TextStyle) -> f64 {
    let ems: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ' ' | ':' | '\'' | '|' => 0.3,
            'm' | 'w' | 'M' | 'W' | '%' => 0.88,
            'A'..='Z' => 0.68,
            c if c.is_ascii() => 0.56,
            _ => 0.75,
        })
        .sum();
    ems * style.size()
}

/// Shapes in the order in which they are painted.
///
/// Clearing keeps the memory, so that a frame allocates nothing once the largest has been drawn.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    shapes: Vec<Shape>,
    points: Vec<Point>,
    texts: String,
    /// Offset that is added to all positions.
    offset: Point,
    /// Pixel columns in which a passing link has been drawn.
    pub(crate) columns: Vec<u64>,
    /// Text of a label before it is known to fit.
    pub(crate) scratch: String,
}

impl Scene {
    /// Removes all shapes.
    pub fn clear(&mut self) {
        self.shapes.clear();
        self.points.clear();
        self.texts.clear();
        self.offset = Point::default();
    }

    /// Returns the shapes.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Returns the corners of a path or polygon.
    pub fn points(&self, range: &Range<u32>) -> &[Point] {
        self.points.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// Returns a text.
    pub fn text(&self, range: &Range<u32>) -> &str {
        self.texts.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// Returns how many shapes, points and bytes of text the scene has memory for.
    pub fn capacity(&self) -> (usize, usize, usize) {
        (self.shapes.capacity(), self.points.capacity(), self.texts.capacity())
    }

    /// Moves what is added from now on by `x` and `y`.
    pub fn set_offset(&mut self, x: f64, y: f64) {
        self.offset = Point { x, y };
    }

    fn moved(&self, x: f64, y: f64) -> Point {
        Point { x: x + self.offset.x, y: y + self.offset.y }
    }

    /// Adds a filled rectangle.
    pub fn rect(&mut self, (x, y, width, height): (f64, f64, f64, f64), radius: f64, paint: Paint) {
        let at = self.moved(x, y);
        self.shapes.push(Shape::Rect { at, width, height, radius, paint });
    }

    /// Adds the outline of a rectangle.
    pub fn frame(
        &mut self,
        (x, y, width, height): (f64, f64, f64, f64),
        radius: f64,
        paint: Paint,
        stroke: f64,
        dash: Dash,
    ) {
        let at = self.moved(x, y);
        self.shapes.push(Shape::Frame { at, width, height, radius, paint, stroke, dash });
    }

    fn push_points(&mut self, points: &[Point]) -> Range<u32> {
        let begin = self.points.len();
        let offset = self.offset;
        self.points.extend(points.iter().map(|point| Point { x: point.x + offset.x, y: point.y + offset.y }));
        position(begin)..position(self.points.len())
    }

    /// Adds connected lines.
    pub fn path(&mut self, points: &[Point], paint: Paint, stroke: f64, dash: Dash) {
        let points = self.push_points(points);
        self.shapes.push(Shape::Path { points, paint, stroke, dash });
    }

    /// Adds a filled polygon.
    pub fn polygon(&mut self, points: &[Point], paint: Paint) {
        let points = self.push_points(points);
        self.shapes.push(Shape::Polygon { points, paint });
    }

    /// Adds a text that `write` appends.
    pub fn text_with(
        &mut self,
        (x, y): (f64, f64),
        style: TextStyle,
        paint: Paint,
        align: Align,
        write: impl FnOnce(&mut String),
    ) {
        let at = self.moved(x, y);
        let begin = self.texts.len();
        write(&mut self.texts);
        let text = position(begin)..position(self.texts.len());
        self.shapes.push(Shape::Text { at, text, style, paint, align });
    }

    /// Adds a text.
    pub fn label(&mut self, at: (f64, f64), style: TextStyle, paint: Paint, align: Align, text: &str) {
        self.text_with(at, style, paint, align, |out| out.push_str(text));
    }

    /// Adds a text that ends with an ellipsis where it would be wider than `width`.
    pub fn fitted(
        &mut self,
        at: (f64, f64),
        style: TextStyle,
        paint: Paint,
        text: &str,
        width: f64,
        measure: &mut dyn Measure,
    ) {
        if measure.width(text, style) <= width {
            return self.label(at, style, paint, Align::Start, text);
        }
        let fits = |end: usize, measure: &mut dyn Measure| {
            text.get(..end).is_some_and(|part| measure.width(part, style) + style.size() <= width)
        };
        let end = text.char_indices().map(|(at, _)| at).take_while(|end| fits(*end, measure)).last().unwrap_or(0);
        self.text_with(at, style, paint, Align::Start, |out| {
            out.push_str(text.get(..end).unwrap_or_default().trim_end());
            out.push('…');
        });
    }

    /// Hides what follows outside of a rectangle, until [`Scene::end_clip`].
    pub fn begin_clip(&mut self, (x, y, width, height): (f64, f64, f64, f64)) {
        let at = self.moved(x, y);
        self.shapes.push(Shape::BeginClip { at, width, height });
    }

    /// Ends the last clip.
    pub fn end_clip(&mut self) {
        self.shapes.push(Shape::EndClip);
    }
}

/// Returns a position as `u32`; a scene is smaller than 4 GB.
fn position(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Estimate;
    impl Measure for Estimate {
        fn width(&mut self, text: &str, style: TextStyle) -> f64 {
            estimated_width(text, style)
        }
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis_within_its_width() {
        let mut scene = Scene::default();
        let name = "Größe und Länge der Überschriften prüfen";
        scene.fitted((0.0, 0.0), TextStyle::Body, Paint::Text, name, 120.0, &mut Estimate);
        let Shape::Text { text, .. } = &scene.shapes()[0] else { panic!("no text") };
        let shown = scene.text(text);
        assert!(shown.ends_with('…') && name.starts_with(shown.trim_end_matches('…')), "{shown}");
        assert!(estimated_width(shown, TextStyle::Body) <= 120.0, "{shown}");
    }

    #[test]
    fn the_offset_moves_shapes() {
        let mut scene = Scene::default();
        scene.set_offset(10.0, 20.0);
        scene.path(&[Point { x: 1.0, y: 2.0 }], Paint::Arrow, 1.0, Dash::Solid);
        let Shape::Path { points, .. } = &scene.shapes()[0] else { panic!("no path") };
        assert_eq!(scene.points(points), [Point { x: 11.0, y: 22.0 }]);
        scene.clear();
        assert!(scene.shapes().is_empty());
    }
}
