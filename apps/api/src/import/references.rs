//! References in the cells of an import: codes, names and ids of other entities.

use super::csv::{self, CellError};
use crate::error::ApiError;
use crate::state::EntityModel;
use pmo_database::{Connection, permission, row};
use pmo_domain::api_types::ReferenceNames;
use pmo_domain::{Column, ColumnKind, PersonId, Row};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// Ids of the entities that cells may refer to, by type and lowercase code, name or id.
///
/// Contains only entities that the importer may see.
pub(super) struct ReferenceLookup(HashMap<(String, String), Vec<Uuid>>);

impl ReferenceLookup {
    /// Looks up all references of a table.
    pub(super) async fn look_up(
        conn: &mut Connection,
        model: &EntityModel,
        person: PersonId,
        table: &csv::CsvTable,
        columns: &[Option<&Column>],
    ) -> Result<Self, ApiError> {
        let mut references: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (index, column) in columns.iter().enumerate().filter_map(|(index, column)| Some((index, (*column)?))) {
            let (ColumnKind::Reference { entity } | ColumnKind::References { entity }) = &column.kind else { continue };
            let cells = table.rows.iter().flat_map(|(_, cells)| csv::split_references(column, &cells[index]));
            references.entry(entity).or_default().extend(cells.map(|reference| reference.to_lowercase()));
        }
        let mut ids_by_reference: HashMap<(String, String), Vec<Uuid>> = HashMap::new();
        for (code, references) in references {
            let entity = model.entity(code)?;
            let ids: Vec<Uuid> = references.iter().filter_map(|reference| reference.parse().ok()).collect();
            let mut candidates =
                row::find_by_code_or_name(conn, entity, &references.into_iter().collect::<Vec<_>>()).await?;
            candidates.extend(ids.into_iter().map(|id| (id, id.to_string(), String::new())));
            let candidate_ids: Vec<Uuid> = candidates.iter().map(|(id, ..)| *id).collect();
            let visible = permission::permissions_of(conn, &[person], &entity.code, &candidate_ids).await?;
            for (id, own_code, name) in candidates.into_iter().filter(|(id, ..)| visible.contains_key(&(person, *id))) {
                for reference in [own_code, name].into_iter().filter(|reference| !reference.is_empty()) {
                    let ids = ids_by_reference.entry((code.to_owned(), reference.to_lowercase())).or_default();
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
            }
        }
        Ok(Self(ids_by_reference))
    }

    /// Resolves the references of a cell to ids.
    ///
    /// References that the row already has are matched first by their current title, because other
    /// entities may have the same title or the referenced entity may have been deleted. References
    /// that the importer cannot see are kept.
    pub(super) fn resolve_references(
        &self,
        column: &Column,
        cell: &str,
        existing: &ExistingReferences,
    ) -> Result<Vec<Value>, CellError> {
        let (ColumnKind::Reference { entity } | ColumnKind::References { entity }) = &column.kind else {
            return Ok(Vec::new());
        };
        let existing_id =
            |word: &str| existing.0.iter().find(|(_, name)| name.as_deref() == Some(word)).map(|(id, _)| *id);
        let excerpt = |word: &str| word.chars().take(60).collect::<String>();
        let resolve = |word: String| {
            let lower = word.to_lowercase();
            if let Some(id) = existing_id(&lower) {
                return Ok(json!(id));
            }
            match self.0.get(&(entity.clone(), lower)).map(Vec::as_slice) {
                Some([id]) => Ok(json!(id)),
                None | Some([]) => {
                    Err(CellError::UnknownReference { entity: entity.clone(), reference: excerpt(&word) })
                }
                Some(matches) => Err(CellError::AmbiguousReference { count: matches.len(), reference: excerpt(&word) }),
            }
        };
        let mut ids: Vec<Value> =
            csv::split_references(column, cell).into_iter().map(resolve).collect::<Result<_, _>>()?;
        if matches!(column.kind, ColumnKind::References { .. }) || ids.is_empty() {
            ids.extend(existing.untitled_ids().map(|id| json!(id)));
        }
        Ok(ids)
    }
}

/// References that a row has before the import.
///
/// Each has its lowercase title, if the importer may see it.
pub(super) struct ExistingReferences(Vec<(Uuid, Option<String>)>);

impl ExistingReferences {
    /// Reads the references of a row; `names` are the titles that the importer may see.
    pub(super) fn from_row(row: Option<&Row>, column: &Column, names: &ReferenceNames) -> Self {
        let (ColumnKind::Reference { entity } | ColumnKind::References { entity }) = &column.kind else {
            return Self(Vec::new());
        };
        let ids: Vec<Uuid> = match row.and_then(|row| row.get(&column.name)) {
            Some(Value::String(id)) => id.parse().into_iter().collect(),
            Some(Value::Array(ids)) => ids.iter().filter_map(|id| id.as_str()?.parse().ok()).collect(),
            _ => Vec::new(),
        };
        let name = |id: &Uuid| names.get(entity).and_then(|names| names.get(id)).map(|name| name.to_lowercase());
        Self(ids.into_iter().map(|id| (id, name(&id))).collect())
    }

    /// Returns the references that the importer cannot see.
    pub(super) fn untitled_ids(&self) -> impl Iterator<Item = Uuid> {
        self.0.iter().filter(|(_, name)| name.is_none()).map(|(id, _)| *id)
    }
}
