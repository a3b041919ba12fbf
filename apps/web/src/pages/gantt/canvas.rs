//! Painting on a canvas, with the colors of the theme.

use leptos::prelude::document;
use pmo_gantt::{Align, Dash, Measure, Paint, Scene, Shape, TextStyle};
use std::collections::HashMap;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};

/// Maximum number of texts with a cached width; a full cache is cleared.
const MAX_WIDTHS: usize = 20_000;
const FAMILY: &str = "\"Inter Variable\", ui-sans-serif, system-ui, sans-serif";

/// Theme of colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    /// That of the page.
    Page,
    /// The light one, for paper and files.
    Light,
}

/// Colors by paint.
#[derive(Clone, Debug, Default)]
pub(super) struct Colors(Vec<String>);

/// Returns the value of a paint in the style sheet.
const fn css_color(paint: Paint) -> &'static str {
    match paint {
        Paint::Surface => "var(--surface)",
        Paint::Selected => "var(--selected)",
        Paint::Hover => "var(--hover)",
        Paint::NonWorking => "var(--weekend)",
        Paint::RowLine => "var(--line-faint)",
        Paint::Line => "var(--line)",
        Paint::Bar => "var(--bar)",
        Paint::BarDone => "var(--bar-done)",
        Paint::Critical => "var(--bar-critical)",
        Paint::CriticalDone => "var(--bar-critical-done)",
        Paint::Summary => "var(--bar-summary)",
        Paint::Reached => "var(--stage-completed)",
        Paint::Arrow => "var(--arrow)",
        Paint::Today => "var(--today)",
        Paint::Text => "var(--text)",
        Paint::TextSoft => "var(--text-2)",
        Paint::TextFaint => "var(--text-3)",
        Paint::LabelBack => "color-mix(in oklch, var(--surface) 82%, transparent)",
        Paint::Slack => "var(--text-3)",
        Paint::Deadline => "var(--success-ink)",
        Paint::Danger => "var(--danger-ink)",
        Paint::Baseline => "var(--chart-2)",
        Paint::Mark => "var(--info-ink)",
        Paint::Unsent => "var(--warning-ink)",
        Paint::Focus => "var(--focus)",
    }
}

impl Colors {
    /// Reads the colors of a theme from the style sheet.
    pub(super) fn read(theme: Theme) -> Self {
        // A computed custom property still contains light-dark(); only a computed color is final.
        let read = || -> Option<Vec<String>> {
            let probe: web_sys::HtmlElement = document().create_element("i").ok()?.unchecked_into();
            document().body()?.append_child(&probe).ok()?;
            let style = probe.style();
            if theme == Theme::Light {
                style.set_property("color-scheme", "light").ok()?;
            }
            let computed = leptos::prelude::window().get_computed_style(&probe).ok()??;
            let colors = Paint::ALL
                .iter()
                .map(|paint| {
                    let _ = style.set_property("color", css_color(*paint));
                    computed.get_property_value("color").unwrap_or_default()
                })
                .collect();
            probe.remove();
            Some(colors)
        };
        Self(read().unwrap_or_default())
    }

    /// Returns the color of a paint.
    pub(super) fn get(&self, paint: Paint) -> &str {
        self.0.get(paint as usize).map_or("#808080", String::as_str)
    }

    /// Returns the colors as `#rrggbb` on the surface, for programs that know no other form.
    pub(super) fn opaque(&self) -> Self {
        let convert = || -> Option<Vec<String>> {
            let (_, context) = new_canvas(1, 1)?;
            let pixel = |paint: &Paint| {
                for color in [self.get(Paint::Surface), self.get(*paint)] {
                    context.set_fill_style_str(color);
                    context.fill_rect(0.0, 0.0, 1.0, 1.0);
                }
                let data = context.get_image_data(0.0, 0.0, 1.0, 1.0).ok()?.data();
                let [red, green, blue, ..] = data.0.get(..3)? else { return None };
                Some(format!("#{red:02x}{green:02x}{blue:02x}"))
            };
            Paint::ALL.iter().map(pixel).collect()
        };
        convert().map_or_else(|| self.clone(), Self)
    }
}

impl pmo_gantt::Palette for Colors {
    fn color(&self, paint: Paint) -> &str {
        self.get(paint)
    }
}

/// Creates a canvas that is not part of the document.
pub(super) fn new_canvas(width: u32, height: u32) -> Option<(HtmlCanvasElement, CanvasRenderingContext2d)> {
    let canvas: HtmlCanvasElement = document().create_element("canvas").ok()?.unchecked_into();
    canvas.set_width(width);
    canvas.set_height(height);
    let context = context_of(&canvas)?;
    Some((canvas, context))
}

/// Returns the drawing context of a canvas.
pub(super) fn context_of(canvas: &HtmlCanvasElement) -> Option<CanvasRenderingContext2d> {
    canvas.get_context("2d").ok()??.dyn_into().ok()
}

fn font(style: TextStyle) -> String {
    format!("{} {}px {FAMILY}", style.weight(), style.size())
}

/// Widths of texts, each measured once.
pub(super) struct TextWidths {
    context: CanvasRenderingContext2d,
    widths: HashMap<TextStyle, HashMap<String, f64>>,
    count: usize,
}

impl TextWidths {
    /// Creates the memory; `None` if the browser has no canvas.
    pub(super) fn new() -> Option<Self> {
        let (_, context) = new_canvas(1, 1)?;
        Some(Self { context, widths: HashMap::new(), count: 0 })
    }

    /// Forgets all widths, after a font has been loaded.
    pub(super) fn clear(&mut self) {
        self.widths.clear();
        self.count = 0;
    }
}

impl Measure for TextWidths {
    fn width(&mut self, text: &str, style: TextStyle) -> f64 {
        if let Some(width) = self.widths.get(&style).and_then(|widths| widths.get(text)) {
            return *width;
        }
        if self.count >= MAX_WIDTHS {
            self.clear();
        }
        self.context.set_font(&font(style));
        let width = self.context.measure_text(text).map(|metrics| metrics.width()).unwrap_or_default();
        self.widths.entry(style).or_default().insert(text.to_owned(), width);
        self.count += 1;
        width
    }
}

/// Paints a scene. `ratio` is the number of device pixels per pixel.
pub(super) fn paint(context: &CanvasRenderingContext2d, scene: &Scene, colors: &Colors, ratio: f64) {
    let _ = context.set_transform(ratio, 0.0, 0.0, ratio, 0.0, 0.0);
    context.set_text_baseline("middle");
    let mut brush = Brush { context, colors, fill: None, stroke: None, font: None, dash: Dash::Solid };
    brush.set_dash(Dash::Dashed);
    brush.set_dash(Dash::Solid);
    for shape in scene.shapes() {
        brush.draw(scene, shape);
    }
}

/// Context with the settings that were made last, because setting them is slow.
struct Brush<'a> {
    context: &'a CanvasRenderingContext2d,
    colors: &'a Colors,
    fill: Option<Paint>,
    stroke: Option<Paint>,
    font: Option<TextStyle>,
    dash: Dash,
}

impl Brush<'_> {
    fn set_fill(&mut self, paint: Paint) {
        if self.fill.replace(paint) != Some(paint) {
            self.context.set_fill_style_str(self.colors.get(paint));
        }
    }

    fn set_stroke(&mut self, paint: Paint, width: f64, dash: Dash) {
        if self.stroke.replace(paint) != Some(paint) {
            self.context.set_stroke_style_str(self.colors.get(paint));
        }
        self.context.set_line_width(width);
        self.set_dash(dash);
    }

    fn set_dash(&mut self, dash: Dash) {
        if self.dash == dash {
            return;
        }
        self.dash = dash;
        let pattern = js_sys::Array::new();
        if dash == Dash::Dashed {
            pattern.push(&JsValue::from_f64(4.0));
            pattern.push(&JsValue::from_f64(3.0));
        }
        let _ = self.context.set_line_dash(&pattern);
    }

    fn trace(&self, scene: &Scene, points: &std::ops::Range<u32>) {
        self.context.begin_path();
        for (number, point) in scene.points(points).iter().enumerate() {
            if number == 0 {
                self.context.move_to(point.x, point.y);
            } else {
                self.context.line_to(point.x, point.y);
            }
        }
    }

    fn draw(&mut self, scene: &Scene, shape: &Shape) {
        let context = self.context;
        match shape {
            Shape::Rect { at, width, height, radius, paint } => {
                self.set_fill(*paint);
                if *radius <= 0.0 {
                    return context.fill_rect(at.x, at.y, *width, *height);
                }
                context.begin_path();
                let _ = context.round_rect_with_f64(at.x, at.y, *width, *height, radius.min(width / 2.0));
                context.fill();
            }
            Shape::Frame { at, width, height, radius, paint, stroke, dash } => {
                self.set_stroke(*paint, *stroke, *dash);
                context.begin_path();
                let _ = context.round_rect_with_f64(at.x, at.y, *width, *height, radius.min(width / 2.0));
                context.stroke();
            }
            Shape::Path { points, paint, stroke, dash } => {
                self.set_stroke(*paint, *stroke, *dash);
                self.trace(scene, points);
                context.stroke();
            }
            Shape::Polygon { points, paint } => {
                self.set_fill(*paint);
                self.trace(scene, points);
                context.fill();
            }
            Shape::Text { at, text, style, paint, align } => {
                self.set_fill(*paint);
                if self.font.replace(*style) != Some(*style) {
                    context.set_font(&font(*style));
                }
                context.set_text_align(if *align == Align::Start { "left" } else { "right" });
                let _ = context.fill_text(scene.text(text), at.x, at.y + 0.5);
            }
            Shape::BeginClip { at, width, height } => {
                context.save();
                context.begin_path();
                context.rect(at.x, at.y, *width, *height);
                context.clip();
            }
            Shape::EndClip => {
                context.restore();
                // The context has its settings from before the clip.
                (self.fill, self.stroke, self.font, self.dash) = (None, None, None, Dash::Solid);
                let _ = context.set_line_dash(&js_sys::Array::new());
            }
        }
    }
}
