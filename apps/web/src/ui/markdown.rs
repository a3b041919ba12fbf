//! Markdown, read and written. What a person wrote never becomes markup of its own: HTML in it is shown as the text that it is, links lead to the web, to a mail or
//! into the app, and nothing is loaded from elsewhere.

use super::reactive::{reactive_attr, reactive_view};
use leptos::prelude::*;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use serde_json::{Value, json};

/// How a mention of a person is written: `@[Ada](person:<id>)`.
pub const MENTION: &str = "person:";

/// Whether a link leads to where links may lead.
fn is_safe_url(address: &str) -> bool {
    let address = address.trim();
    let inside = address.starts_with('/') && !address.starts_with("//") || address.starts_with('#');
    inside || ["https://", "http://", "mailto:"].iter().any(|scheme| address.to_ascii_lowercase().starts_with(scheme))
}

/// Markdown as HTML that is safe to show.
pub fn to_safe_html(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    // What the closing of each open link closes with.
    let mut links: Vec<&'static str> = Vec::new();
    let events = Parser::new_ext(markdown, options).filter_map(|event| {
        Some(match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => return None,
            // A picture would be loaded from elsewhere: its words stand for it.
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => return None,
            Event::Start(Tag::Link { dest_url, .. }) if dest_url.starts_with(MENTION) => {
                links.push("</span>");
                Event::InlineHtml(CowStr::Borrowed("<span class=\"mention\">"))
            }
            Event::Start(Tag::Link { dest_url, .. }) if !is_safe_url(&dest_url) => {
                links.push("");
                return None;
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                links.push("</a>");
                Event::Start(Tag::Link { link_type, dest_url, title, id })
            }
            Event::End(TagEnd::Link) => match links.pop() {
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

/// Markdown as it is read.
#[component]
pub fn Markdown(
    /// The text.
    #[prop(into)]
    text: Signal<String>,
) -> impl IntoView {
    view! { <div class="prose" inner_html=reactive_attr(move || to_safe_html(&text.get()))></div> }
}

/// A field for Markdown: written, or looked at as it will be read.
#[component]
pub fn MarkdownField(
    /// The control's id.
    #[prop(into)]
    id: String,
    /// The present text.
    #[prop(into)]
    value: Signal<Value>,
    /// May not be written.
    #[prop(into)]
    off: Signal<bool>,
    /// Takes what was typed.
    change: Callback<Value>,
    /// Said where there is none.
    #[prop(optional, into)]
    placeholder: Signal<String>,
    /// Said to a screen reader, where no label does.
    #[prop(optional)]
    label: Option<&'static str>,
    /// More of its look.
    #[prop(optional, into)]
    class: Signal<String>,
) -> impl IntoView {
    let reading = RwSignal::new(false);
    let text = Memo::new(move |_| value.get().as_str().unwrap_or_default().to_owned());
    let some = Memo::new(move |_| text.with(|t| !t.trim().is_empty()));
    view! {
        <div class="markdown-field">
            {reactive_view(move || if off.get() || reading.get() {
                view! { <div class="read"><Markdown text=text/>{reactive_view(move || (!some.get()).then(|| view! { <p class="softer">{reactive_view(move || placeholder.get())}</p> }))}</div> }.into_any()
            } else {
                view! { <textarea class=reactive_attr(move || format!("input prose-edit {}", class.get())) id=id.clone() rows="3" aria-label=label placeholder=reactive_attr(move || placeholder.get())
                    prop:value=text on:input=move |e| change.run(json!(event_target_value(&e)))></textarea> }.into_any()
            })}
            {reactive_view(move || (!off.get() && some.get()).then(|| view! {
                <button type="button" class="btn quiet sm" aria-pressed=reactive_attr(move || reading.get().to_string()) on:click=move |_| reading.update(|r| *r = !*r)>
                    {reactive_view(move || if reading.get() { "Write" } else { "Preview" })}</button>
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
    fn what_is_written_reads_as_it_was_meant() {
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
    fn nothing_that_is_written_becomes_markup_of_its_own() {
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
            // As the browser takes it.
            let place = document().create_element("div").unwrap();
            place.set_inner_html(&to_safe_html(hostile));
            let all = place.query_selector_all("*").unwrap();
            for n in 0..all.length() {
                let element: web_sys::Element = all.get(n).unwrap().unchecked_into();
                let name = element.tag_name().to_lowercase();
                assert!(["p", "a", "br", "span"].contains(&name.as_str()), "{hostile}: <{name}>");
                for attribute in element.get_attribute_names().iter().filter_map(|a| a.as_string()) {
                    let value = element.get_attribute(&attribute).unwrap_or_default();
                    let harmless =
                        attribute == "class" && value == "mention" || attribute == "href" && super::is_safe_url(&value);
                    assert!(harmless, "{hostile}: {attribute}={value}");
                }
            }
        }
        assert!(
            to_safe_html("[x](https://a.example/?q=1&b=\"2)").contains("href=\"https://a.example/?q=1&amp;b=%222\"")
        );
    }
}
