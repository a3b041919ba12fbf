//! Renders the documentation to HTML pages that the binary embeds.
//!
//! The documentation is `docs/` and the Markdown files at the top level. A link to a page or
//! heading that does not exist fails the build. Links to other files of the repository become plain
//! text, because the site holds documents only.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

type Error = Box<dyn std::error::Error>;

/// Documents at the top level that belong to the site, with their page paths.
const TOP_LEVEL: [(&str, &str); 5] = [
    ("README.md", "overview"),
    ("ARCHITECTURE.md", "architecture"),
    ("CONTRIBUTING.md", "contributing"),
    ("CHANGELOG.md", "changelog"),
    ("LIMITATIONS.md", "limitations"),
];

/// One document.
struct Page {
    /// Path below `/docs/`; empty for the index.
    path: String,
    title: String,
    html: String,
    /// Ids of its headings.
    anchors: BTreeSet<String>,
    /// Links to other pages: path and anchor.
    links: Vec<(String, Option<String>)>,
}

fn main() -> Result<(), Error> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let sources = sources(&root)?;
    let paths: BTreeMap<PathBuf, String> = sources.iter().cloned().collect();
    let mut pictures = BTreeSet::new();
    let mut pages = Vec::new();
    for (file, path) in &sources {
        println!("cargo:rerun-if-changed={}", root.join(file).display());
        pages.push(render(&root, file, path, &paths, &mut pictures).map_err(|e| format!("{}: {e}", file.display()))?);
    }
    for folder in ["docs", "docs/adr"] {
        println!("cargo:rerun-if-changed={}", root.join(folder).display());
    }
    check_links(&pages)?;

    let mut code = String::from("const PAGES: &[(&str, &str, &str)] = &[\n");
    for (n, page) in pages.iter().enumerate() {
        let file = out.join(format!("page-{n}.html"));
        fs::write(&file, &page.html)?;
        writeln!(code, "    ({:?}, {:?}, include_str!({:?})),", page.path, page.title, file.display().to_string())?;
    }
    code.push_str("];\nconst PICTURES: &[(&str, &[u8])] = &[\n");
    for picture in &pictures {
        let file = root.join("docs/pictures").join(picture);
        println!("cargo:rerun-if-changed={}", file.display());
        writeln!(code, "    ({picture:?}, include_bytes!({:?})),", file.display().to_string())?;
    }
    code.push_str("];\n");
    fs::write(out.join("docs.rs"), code)?;
    Ok(())
}

/// Returns every document with its page path.
///
/// The index comes first, then pages by name, then decision records.
fn sources(root: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let mut sources = vec![(PathBuf::from("docs/README.md"), String::new())];
    for (file, path) in TOP_LEVEL {
        sources.push((PathBuf::from(file), path.to_owned()));
    }
    for (folder, prefix) in [("docs", ""), ("docs/adr", "adr/")] {
        let mut names: Vec<String> = fs::read_dir(root.join(folder))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".md") && !(folder == "docs" && name == "README.md"))
            .collect();
        names.sort();
        for name in names {
            let stem = name.trim_end_matches(".md");
            let path = if stem == "README" {
                prefix.trim_end_matches('/').to_owned()
            } else {
                format!("{prefix}{stem}").to_lowercase()
            };
            sources.push((Path::new(folder).join(&name), path));
        }
    }
    Ok(sources)
}

/// Renders one document: heading ids, links to other pages, pictures.
fn render(
    root: &Path,
    file: &Path,
    path: &str,
    paths: &BTreeMap<PathBuf, String>,
    pictures: &mut BTreeSet<String>,
) -> Result<Page, Error> {
    let text = fs::read_to_string(root.join(file))?;
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut events: Vec<Event> = Parser::new_ext(&text, options).collect();
    let mut page = Page {
        path: path.to_owned(),
        title: String::new(),
        html: String::new(),
        anchors: BTreeSet::new(),
        links: vec![],
    };
    name_headings(&mut events, &mut page);
    // Whether each open link is kept; one that leads to no page keeps its words only.
    let mut open = Vec::new();
    let mut kept = Vec::with_capacity(events.len());
    for event in events {
        match event {
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let target = link_target(file, &dest_url, paths, &mut page.links)?;
                open.push(target.is_some());
                if let Some(target) = target {
                    kept.push(Event::Start(Tag::Link { link_type, dest_url: target.into(), title, id }));
                }
            }
            Event::End(TagEnd::Link) => {
                if open.pop().unwrap_or(true) {
                    kept.push(Event::End(TagEnd::Link));
                }
            }
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
                let picture = resolve(file, &dest_url);
                let name =
                    picture.strip_prefix("docs/pictures").map_err(|_| format!("{dest_url} is not in docs/pictures"))?;
                let name = name.display().to_string();
                let dest_url = CowStr::from(format!("/docs/pictures/{name}"));
                pictures.insert(name);
                kept.push(Event::Start(Tag::Image { link_type, dest_url, title, id }));
            }
            // The documents are our own, and the site shows no markup that it did not make.
            Event::Html(text) | Event::InlineHtml(text) => kept.push(Event::Text(text)),
            other => kept.push(other),
        }
    }
    html::push_html(&mut page.html, kept.into_iter());
    Ok(page)
}

/// Gives every heading an id made of its words, as GitHub does.
///
/// The first heading is the title.
fn name_headings(events: &mut [Event], page: &mut Page) {
    let mut start = None;
    for at in 0..events.len() {
        match &events[at] {
            Event::Start(Tag::Heading { .. }) => start = Some(at),
            Event::End(TagEnd::Heading(level)) => {
                let level = *level;
                let Some(from) = start.take() else { continue };
                let words: String = events[from..at]
                    .iter()
                    .filter_map(|e| if let Event::Text(t) | Event::Code(t) = e { Some(t.as_ref()) } else { None })
                    .collect();
                if level == HeadingLevel::H1 && page.title.is_empty() {
                    page.title.clone_from(&words);
                }
                let base: String = words
                    .to_lowercase()
                    .chars()
                    .filter_map(|c| match c {
                        ' ' => Some('-'),
                        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                        _ => None,
                    })
                    .collect();
                let mut slug = base.clone();
                let mut n = 1;
                while !page.anchors.insert(slug.clone()) {
                    slug = format!("{base}-{n}");
                    n += 1;
                }
                if let Event::Start(Tag::Heading { id, .. }) = &mut events[from] {
                    *id = Some(slug.into());
                }
            }
            _ => {}
        }
    }
}

/// Returns where a link leads on the site.
///
/// Returns `None` for a file of the repository that the site does not hold.
fn link_target(
    file: &Path,
    url: &str,
    paths: &BTreeMap<PathBuf, String>,
    links: &mut Vec<(String, Option<String>)>,
) -> Result<Option<String>, Error> {
    if url.starts_with("http://") || url.starts_with("https://") || url.starts_with("mailto:") {
        return Ok(Some(url.to_owned()));
    }
    let (target, anchor) =
        url.split_once('#').map_or((url, None), |(target, anchor)| (target, Some(anchor.to_owned())));
    let target = if target.is_empty() { file.to_owned() } else { resolve(file, target) };
    if target == Path::new("docs/openapi.json") {
        return Ok(Some("/api/v1/openapi.json".to_owned()));
    }
    let Some(path) = paths.get(&target) else {
        return if target.extension().is_some_and(|e| e == "md") {
            Err(format!("no page for the link {url}").into())
        } else {
            Ok(None)
        };
    };
    links.push((path.clone(), anchor.clone()));
    let anchor = anchor.map(|a| format!("#{a}")).unwrap_or_default();
    Ok(Some(format!("/docs/{path}{anchor}")))
}

/// Resolves a relative link against the folder of `file`, without touching the file system.
fn resolve(file: &Path, link: &str) -> PathBuf {
    let mut path = file.parent().map(Path::to_owned).unwrap_or_default();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// Fails if a link names a heading that its page does not have.
fn check_links(pages: &[Page]) -> Result<(), Error> {
    let anchors: BTreeMap<&str, &BTreeSet<String>> = pages.iter().map(|p| (p.path.as_str(), &p.anchors)).collect();
    for page in pages {
        for (target, anchor) in &page.links {
            if let Some(anchor) = anchor
                && !anchors.get(target.as_str()).is_some_and(|known| known.contains(anchor))
            {
                return Err(
                    format!("/docs/{} links to /docs/{target}#{anchor}, which does not exist", page.path).into()
                );
            }
        }
    }
    Ok(())
}
