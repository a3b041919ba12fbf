//! Full-text search over entities of all types that a person may view, best match first.

use crate::permission;
use crate::{Connection, PlanMode, Result};
use pmo_domain::PersonId;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Number of best matches whose permissions are evaluated.
///
/// The query excludes entities without a grant first, so that a person who may view few of many
/// matches still finds them.
const CANDIDATES: i64 = 500;

/// Entity found by a search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// Id of the entity.
    pub id: Uuid,
    /// Type code.
    pub code: String,
    /// Title of the entity.
    pub title: String,
    /// Relevance; higher is better.
    pub rank: f32,
    /// Effective permission of the person.
    pub level: pmo_domain::Permission,
}

/// Returns at most `limit` entities that match `query` and that `person` may view.
///
/// `query` is the text of a `tsquery` of quoted words. `codes` restricts the types. Must run in a
/// transaction, because it changes the plan mode of the transaction.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn find(
    conn: &mut Connection,
    person: PersonId,
    query: &str,
    codes: Option<&[String]>,
    limit: usize,
) -> Result<Vec<SearchHit>> {
    crate::set_plan_mode(conn, PlanMode::Custom).await?;
    let candidates: Vec<(Uuid, f32)> = sqlx::query_as(
        "with granted as materialized (select distinct grant_key from app.active_grants(array[$1]) where grant_key is not null and not is_deny),
              direct as materialized (select coalesce(array_agg(grant_key), '{}') as keys from granted),
              visible_sets as materialized (select distinct m.ancestor_set_id from granted join app.ancestor_set_member m using (grant_key))
         select i.id, ts_rank(i.search_document, q.q)
         from to_tsquery('simple', $2) q (q), direct, app.entity_instance i join app.entity e on e.code = i.code
         where i.search_document @@ q.q and ($3::text[] is null or i.code = any ($3))
           and (i.ancestor_set_id in (select ancestor_set_id from visible_sets) or i.id = any (direct.keys) or e.type_marker = any (direct.keys))
         order by 2 desc, i.title, i.id limit $4",
    )
    .persistent(false)
    .bind(person.0)
    .bind(query)
    .bind(codes)
    .bind(CANDIDATES)
    .fetch_all(&mut *conn)
    .await?;
    crate::set_plan_mode(conn, PlanMode::Generic).await?;
    let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.0).collect();
    let mut visible: BTreeMap<Uuid, permission::VisibleEntity> =
        permission::visible(conn, person, &ids).await?.into_iter().map(|s| (s.id, s)).collect();
    Ok(candidates
        .into_iter()
        .filter_map(|(id, rank)| {
            visible.remove(&id).map(|s| SearchHit { id, code: s.code, title: s.title, rank, level: s.level })
        })
        .take(limit)
        .collect())
}

/// Returns excerpts of `texts` as parts, each with whether it matches `query`.
pub async fn highlight(conn: &mut Connection, query: &str, texts: &[String]) -> Result<Vec<Vec<(String, bool)>>> {
    // Private-use characters as markers; they are removed from the texts first.
    const HIGHLIGHT_START: char = '\u{e000}';
    const HIGHLIGHT_END: char = '\u{e001}';
    let texts: Vec<String> = texts.iter().map(|t| t.replace([HIGHLIGHT_START, HIGHLIGHT_END], "")).collect();
    let headlines: Vec<String> = sqlx::query_scalar(
        "select ts_headline('simple', t.text, to_tsquery('simple', $1), $3) from unnest($2::text[]) with ordinality t (text, n) order by t.n",
    )
    .bind(query)
    .bind(&texts)
    .bind(format!("StartSel={HIGHLIGHT_START}, StopSel={HIGHLIGHT_END}, MaxWords=24, MinWords=8, MaxFragments=2, FragmentDelimiter=\" … \""))
    .fetch_all(conn)
    .await?;
    Ok(headlines
        .iter()
        .map(|headline| {
            let mut parts = Vec::new();
            for (n, piece) in headline.split(HIGHLIGHT_START).enumerate() {
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
