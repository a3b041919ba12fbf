//! Markdown rendering and the Markdown editor.
//!
//! HTML in the source is shown as text. Links may use `http`, `https`, `mailto` and paths of the
//! app.
//!
//! Must not: emit HTML from user input, or load images or other resources from external sites.

use super::reactive::{reactive_attr, reactive_view};
use leptos::prelude::*;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use serde_json::{Value, json};

/// URL prefix of a mention of a person, written as `@[Ada](person:<id>)`.
pub(crate) const MENTION: &str = "person:";

/// Returns whether a link may use this URL: a path or fragment of the app, or an allowed scheme.
fn is_safe_url(url: &str) -> bool {
    let url = url.trim();
    let internal = url.starts_with('/') && !url.starts_with("//") || url.starts_with('#');
    internal || ["https://", "http://", "mailto:"].iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme))
}

/// Converts Markdown to HTML that is safe to insert into the page.
pub(crate) fn to_safe_html(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    // Closing tags of the open links, innermost last; empty for a link that is dropped.
    let mut closing_tags: Vec<&'static str> = Vec::new();
    let events = Parser::new_ext(markdown, options).filter_map(|event| {
        Some(match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => return None,
            // Images would be loaded from external sites: only the alternative text is shown.
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => return None,
            Event::Start(Tag::Link { dest_url, .. }) if dest_url.starts_with(MENTION) => {
                closing_tags.push("</span>");
                Event::InlineHtml(CowStr::Borrowed("<span class=\"mention\">"))
            }
            Event::Start(Tag::Link { dest_url, .. }) if !is_safe_url(&dest_url) => {
                closing_tags.push("");
                return None;
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                closing_tags.push("</a>");
                Event::Start(Tag::Link { link_type, dest_url, title, id })
            }
            Event::End(TagEnd::Link) => match closing_tags.pop() {
                Some("</span>") => Event::InlineHtml(CowStr::Borrowed("</span>")),
                Some("") => return None,
                _ => Event::End(TagEnd::Link),
            },
            Event::SoftBreak => Event::HardBreak,
            other => other,
        })
    });
    let mut out = String::with_capacity(markdown.len() * 2);
    html::push_html(&mut out, events);
    out
}

/// Renders Markdown.
#[component]
pub(crate) fn Markdown(
    /// Markdown source.
    #[prop(into)]
    text: Signal<String>,
) -> impl IntoView {
    view! { <div class="prose" inner_html=reactive_attr(move || to_safe_html(&text.get()))></div> }
}

/// Markdown editor with a preview.
#[component]
pub(crate) fn MarkdownField(
    /// Id of the text area.
    #[prop(into)]
    id: String,
    /// Current text.
    #[prop(into)]
    value: Signal<Value>,
    /// Whether the field is read-only.
    #[prop(into)]
    disabled: Signal<bool>,
    /// Callback that receives the text after each input.
    change: Callback<Value>,
    /// Text shown while the field is empty.
    #[prop(optional, into)]
    placeholder: Signal<String>,
    /// Accessible name, if no label element refers to the field.
    #[prop(optional)]
    label: Option<&'static str>,
    /// Additional CSS classes of the text area.
    #[prop(optional, into)]
    class: Signal<String>,
) -> impl IntoView {
    let preview = RwSignal::new(false);
    let text = Memo::new(move |_| value.get().as_str().unwrap_or_default().to_owned());
    let has_text = Memo::new(move |_| text.with(|t| !t.trim().is_empty()));
    view! {
        <div class="markdown-field">
            {reactive_view(move || if disabled.get() || preview.get() {
                view! { <div class="read"><Markdown text=text/>{reactive_view(move || (!has_text.get()).then(|| view! { <p class="softer">{reactive_view(move || placeholder.get())}</p> }))}</div> }.into_any()
            } else {
                view! { <textarea class=reactive_attr(move || format!("input prose-edit {}", class.get())) id=id.clone() rows="3" aria-label=label placeholder=reactive_attr(move || placeholder.get())
                    prop:value=text on:input=move |e| change.run(json!(event_target_value(&e)))></textarea> }.into_any()
            })}
            {reactive_view(move || (!disabled.get() && has_text.get()).then(|| view! {
                <button type="button" class="btn quiet sm" aria-pressed=reactive_attr(move || preview.get().to_string()) on:click=move |_| preview.update(|on| *on = !*on)>
                    {reactive_view(move || if preview.get() { "Write" } else { "Preview" })}</button>
            }))}
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen::JsCast;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn markdown_is_rendered_as_html() {
        assert_eq!(
            to_safe_html("**Go** at *nine*\nor ten"),
            "<p><strong>Go</strong> at <em>nine</em><br />\nor ten</p>\n"
        );
        assert!(to_safe_html("- [x] done\n- [ ] open").contains("checked"));
        assert!(to_safe_html("|a|b|\n|-|-|\n|1|2|").contains("<table>"));
        assert_eq!(
            to_safe_html("ask @[Ada King](person:018f)"),
            "<p>ask @<span class=\"mention\">Ada King</span></p>\n"
        );
    }

    #[wasm_bindgen_test]
    fn user_input_never_becomes_markup() {
        for hostile in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "a <b onclick='x'>b</b>",
            "[click](javascript:alert(1))",
            "[click](JaVaScRiPt:alert(1))",
            "[click](//evil.example)",
            "[click](data:text/html,x)",
            "![p](https://evil.example/p.png)",
            "<https://ok.example> <javascript:x>",
            "[a](person:<script>) [b](x\"onmouseover=\"y)",
        ] {
            // Checked after parsing by the browser, not on the HTML text.
            let container = document().create_element("div").unwrap();
            container.set_inner_html(&to_safe_html(hostile));
            let elements = container.query_selector_all("*").unwrap();
            for n in 0..elements.length() {
                let element: web_sys::Element = elements.get(n).unwrap().unchecked_into();
                let name = element.tag_name().to_lowercase();
                assert!(["p", "a", "br", "span"].contains(&name.as_str()), "{hostile}: <{name}>");
                for attribute in element.get_attribute_names().iter().filter_map(|a| a.as_string()) {
                    let value = element.get_attribute(&attribute).unwrap_or_default();
                    let allowed =
                        attribute == "class" && value == "mention" || attribute == "href" && super::is_safe_url(&value);
                    assert!(allowed, "{hostile}: {attribute}={value}");
                }
            }
        }
        assert!(
            to_safe_html("[x](https://a.example/?q=1&b=\"2)").contains("href=\"https://a.example/?q=1&amp;b=%222\"")
        );
    }
}
