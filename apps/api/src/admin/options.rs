//! Validation and diff of an option set: resulting options, renamed options, removed options.
//!
//! Pure. The caller determines which options are in use.

use pmo_domain::api_types::FieldError;
use pmo_domain::catalog::{Datalabel, LabelOption};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Names of the supported colors.
pub(super) const COLORS: [&str; 6] = ["grey", "blue", "green", "amber", "red", "purple"];
/// Maximum number of options in a set.
const MAX_OPTIONS: usize = 200;

/// Requested state of an option. The order of the inputs is the display order.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OptionInput {
    /// Id of an existing option; `None` adds an option.
    #[serde(default)]
    pub id: Option<i32>,
    /// Name; rows that use the option follow a new name.
    pub name: String,
    /// Description.
    #[serde(default)]
    pub descr: Option<String>,
    /// Color: grey, blue, green, amber, red or purple.
    #[serde(default)]
    pub color_code: Option<String>,
    /// Whether the option is a final state.
    #[serde(default)]
    pub terminal_flag: bool,
    /// Whether the option can be selected.
    #[serde(default = "default_true")]
    pub active_flag: bool,
    /// Names of the options from which a transition to this one is allowed; empty: any.
    #[serde(default)]
    pub after: Vec<String>,
}

fn default_true() -> bool {
    true
}

/// Changes that a request makes to an option set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OptionSetPlan {
    /// Resulting options, in display order.
    pub options: Vec<LabelOption>,
    /// New name by current name, for rows that use a renamed option.
    pub renamed: BTreeMap<String, String>,
    /// Names of removed options, which rows must not use.
    pub removed: BTreeSet<String>,
}

/// Computes the changes, or returns all validation errors.
///
/// New options get ids above the highest existing id.
pub(super) fn plan_change(current: &Datalabel, inputs: &[OptionInput]) -> Result<OptionSetPlan, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut add_error = |index: usize, field: &str, message: &str| {
        errors.push(FieldError { field: format!("options.{index}.{field}"), message: message.to_owned() });
    };
    if inputs.is_empty() || inputs.len() > MAX_OPTIONS || !inputs.iter().any(|input| input.active_flag) {
        add_error(0, "name", "a set has 1 to 200 options, at least one of them active");
    }
    let mut max_id = current.options.iter().map(|o| o.id).max().unwrap_or_default();
    let mut ids: BTreeMap<&str, i32> = BTreeMap::new();
    let (mut seen_ids, mut lowercase_names) = (BTreeSet::new(), BTreeSet::new());
    for (index, option) in inputs.iter().enumerate() {
        let name = option.name.as_str();
        if name.trim() != name || !(1..=200).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            add_error(index, "name", "must be 1 to 200 characters, without leading or trailing spaces");
        }
        if !lowercase_names.insert(name.to_lowercase()) {
            add_error(index, "name", "is a duplicate");
        }
        if option.color_code.as_deref().is_some_and(|color| !COLORS.contains(&color)) {
            add_error(index, "color_code", "is not a supported color");
        }
        if option.descr.as_ref().is_some_and(|text| text.chars().count() > 1000 || text.contains('\0')) {
            add_error(index, "descr", "must have at most 1000 characters");
        }
        let id = match option.id {
            Some(id) if !current.options.iter().any(|o| o.id == id) => {
                add_error(index, "id", "is not an option of this set");
                id
            }
            Some(id) => id,
            None => {
                max_id += 1;
                max_id
            }
        };
        if !seen_ids.insert(id) {
            add_error(index, "id", "is a duplicate");
        }
        ids.insert(name, id);
    }
    let mut options = Vec::new();
    for (index, option) in inputs.iter().enumerate() {
        let mut parent_ids = Vec::new();
        for predecessor in &option.after {
            match ids.get(predecessor.as_str()) {
                Some(_) if *predecessor == option.name => add_error(index, "after", "cannot contain the option itself"),
                Some(id) if !parent_ids.contains(id) => parent_ids.push(*id),
                Some(_) => {}
                None => add_error(index, "after", "contains a name that is not an option of this set"),
            }
        }
        let order = i32::try_from(index + 1).unwrap_or(i32::MAX).saturating_mul(10);
        options.push(LabelOption {
            id: ids.get(option.name.as_str()).copied().unwrap_or_default(),
            name: option.name.clone(),
            descr: option.descr.clone().filter(|text| !text.is_empty()),
            color_code: option.color_code.clone(),
            display_order: order,
            parent_ids,
            terminal_flag: option.terminal_flag,
            active_flag: option.active_flag,
        });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut plan = OptionSetPlan { options, ..OptionSetPlan::default() };
    for old in &current.options {
        match plan.options.iter().find(|new| new.id == old.id) {
            None => drop(plan.removed.insert(old.name.clone())),
            Some(new) if new.name != old.name => {
                plan.renamed.insert(old.name.clone(), new.name.clone());
            }
            Some(_) => {}
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(names: &[&str]) -> Datalabel {
        let option = |(n, name): (usize, &&str)| LabelOption {
            id: n as i32 + 1,
            name: (*name).to_owned(),
            descr: None,
            color_code: None,
            display_order: 10 * (n as i32 + 1),
            parent_ids: Vec::new(),
            terminal_flag: false,
            active_flag: true,
        };
        Datalabel { name: "stage".into(), options: names.iter().enumerate().map(option).collect(), is_fixed: false }
    }

    fn option_input(id: Option<i32>, name: &str) -> OptionInput {
        OptionInput {
            id,
            name: name.into(),
            descr: None,
            color_code: None,
            terminal_flag: false,
            active_flag: true,
            after: Vec::new(),
        }
    }

    #[test]
    fn plan_reorders_renames_adds_and_removes_options() {
        let reordered = OptionInput { after: vec!["New".into(), "Doing".into()], ..option_input(Some(3), "Done") };
        let plan = plan_change(
            &set(&["Open", "Started", "Done"]),
            &[reordered, option_input(Some(2), "Doing"), option_input(None, "New")],
        )
        .unwrap();
        let summary: Vec<_> = plan.options.iter().map(|o| (o.id, o.name.as_str(), o.display_order)).collect();
        assert_eq!(summary, [(3, "Done", 10), (2, "Doing", 20), (4, "New", 30)], "new options get unused ids");
        assert_eq!(plan.options[0].parent_ids, [4, 2]);
        assert_eq!(plan.renamed, [("Started".to_owned(), "Doing".to_owned())].into());
        assert_eq!(plan.removed, ["Open".to_owned()].into());
    }

    #[test]
    fn names_can_be_swapped() {
        let plan = plan_change(&set(&["A", "B"]), &[option_input(Some(1), "B"), option_input(Some(2), "A")]).unwrap();
        assert_eq!(plan.renamed, [("A".to_owned(), "B".to_owned()), ("B".to_owned(), "A".to_owned())].into());
    }

    #[test]
    fn invalid_options_are_reported_by_field() {
        let error_fields = |list: &[OptionInput]| -> Vec<String> {
            plan_change(&set(&["A", "B"]), list).unwrap_err().into_iter().map(|e| e.field).collect()
        };
        assert_eq!(error_fields(&[]), ["options.0.name"]);
        assert_eq!(error_fields(&[option_input(Some(1), "A"), option_input(Some(2), "a")]), ["options.1.name"]);
        assert_eq!(error_fields(&[option_input(Some(9), "A")]), ["options.0.id"]);
        assert_eq!(error_fields(&[option_input(Some(1), "A"), option_input(Some(1), "B")]), ["options.1.id"]);
        assert_eq!(
            error_fields(&[OptionInput { color_code: Some("url(x)".into()), ..option_input(Some(1), "A") }]),
            ["options.0.color_code"]
        );
        assert_eq!(
            error_fields(&[OptionInput { after: vec!["C".into()], ..option_input(Some(1), "A") }]),
            ["options.0.after"]
        );
        assert_eq!(
            error_fields(&[OptionInput { after: vec!["A".into()], ..option_input(Some(1), "A") }]),
            ["options.0.after"]
        );
        assert_eq!(
            error_fields(&[OptionInput { active_flag: false, ..option_input(Some(1), "A") }]),
            ["options.0.name"]
        );
        assert_eq!(error_fields(&[option_input(Some(1), " A")]), ["options.0.name"]);
    }

    proptest! {
        #[test]
        fn accepted_change_results_in_a_valid_set(choices in prop::collection::vec((prop::option::of(1..6i32), "[a-d]{1,2}", any::<bool>()), 0..8)) {
            let current = set(&["v", "w", "x", "y", "z"]);
            let inputs: Vec<OptionInput> = choices.iter().map(|(id, name, active)| OptionInput { active_flag: *active, ..option_input(*id, name) }).collect();
            if let Ok(plan) = plan_change(&current, &inputs) {
                let ids: BTreeSet<_> = plan.options.iter().map(|o| o.id).collect();
                let names: BTreeSet<_> = plan.options.iter().map(|o| &o.name).collect();
                prop_assert_eq!((ids.len(), names.len()), (inputs.len(), inputs.len()));
                prop_assert!(plan.options.iter().any(|o| o.active_flag));
                // Each existing option is kept, renamed or removed.
                for before in &current.options {
                    let is_kept = plan.options.iter().any(|o| o.id == before.id);
                    prop_assert_eq!(is_kept, !plan.removed.contains(&before.name));
                }
            }
        }
    }
}
