//! Words in all things, best first, as far as a person may see.

use crate::permission;
use crate::{Connection, Result};
use pmo_domain::PersonId;
use std::collections::BTreeMap;
use uuid::Uuid;

/// How many of the best are weighed; who sees few of many matches still finds theirs, because what nobody granted is left out before.
const CANDIDATES: i64 = 500;

/// A thing that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// The thing.
    pub id: Uuid,
    /// Its type.
    pub code: String,
    /// Its name.
    pub title: String,
    /// How well it fits; higher is better.
    pub rank: f32,
    /// The reader's level.
    pub level: pmo_domain::Permission,
}

/// To be asked in a transaction. What `query` finds; it is the text of a `tsquery`, made of quoted words. `codes` narrows to types.
pub async fn find(
    c: &mut Connection,
    person: PersonId,
    query: &str,
    codes: Option<&[String]>,
    limit: usize,
) -> Result<Vec<SearchHit>> {
    crate::use_custom_plan(c, true).await?;
    let found: Vec<(Uuid, f32)> = sqlx::query_as(
        "with held as materialized (select distinct key from app.grants_of(array[$1]) where key is not null and not is_deny),
              mine as materialized (select coalesce(array_agg(key), '{}') as keys from held),
              reaches as materialized (select distinct rk.reach from held join app.reach_key rk using (key))
         select th.id, ts_rank(th.document, q.q)
         from to_tsquery('simple', $2) q (q), mine, app.thing th join app.entity e on e.code = th.code
         where th.document @@ q.q and ($3::text[] is null or th.code = any ($3))
           and (th.reach in (select reach from reaches) or th.id = any (mine.keys) or e.marker = any (mine.keys))
         order by 2 desc, th.title, th.id limit $4",
    )
    .persistent(false)
    .bind(person.0)
    .bind(query)
    .bind(codes)
    .bind(CANDIDATES)
    .fetch_all(&mut *c)
    .await?;
    crate::use_custom_plan(c, false).await?;
    let ids: Vec<Uuid> = found.iter().map(|f| f.0).collect();
    let mut seen: BTreeMap<Uuid, permission::VisibleEntity> =
        permission::visible(c, person, &ids).await?.into_iter().map(|s| (s.id, s)).collect();
    Ok(found
        .into_iter()
        .filter_map(|(id, rank)| {
            seen.remove(&id).map(|s| SearchHit { id, code: s.code, title: s.title, rank, level: s.level })
        })
        .take(limit)
        .collect())
}

/// Where the words stand in texts, for showing: parts, each with whether it is a hit.
pub async fn highlight(c: &mut Connection, query: &str, texts: &[String]) -> Result<Vec<Vec<(String, bool)>>> {
    // Marks that no text holds: they are taken out of it first.
    const HIGHLIGHT_START: char = '\u{e000}';
    const HIGHLIGHT_END: char = '\u{e001}';
    let clean: Vec<String> = texts.iter().map(|t| t.replace([HIGHLIGHT_START, HIGHLIGHT_END], "")).collect();
    let marked: Vec<String> = sqlx::query_scalar(
        "select ts_headline('simple', t.text, to_tsquery('simple', $1), $3) from unnest($2::text[]) with ordinality t (text, n) order by t.n",
    )
    .bind(query)
    .bind(&clean)
    .bind(format!("StartSel={HIGHLIGHT_START}, StopSel={HIGHLIGHT_END}, MaxWords=24, MinWords=8, MaxFragments=2, FragmentDelimiter=\" … \""))
    .fetch_all(c)
    .await?;
    Ok(marked
        .iter()
        .map(|text| {
            let mut parts = Vec::new();
            for (n, piece) in text.split(HIGHLIGHT_START).enumerate() {
                match piece.split_once(HIGHLIGHT_END) {
                    Some((hit, rest)) if n > 0 => {
                        parts.push((hit.to_owned(), true));
                        parts.push((rest.to_owned(), false));
                    }
                    _ => parts.push((piece.to_owned(), false)),
                }
            }
            parts.retain(|p| !p.0.is_empty());
            parts
        })
        .collect())
}
