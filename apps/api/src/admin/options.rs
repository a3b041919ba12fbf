//! What a change of an option set comes to: which options there are then, which rows are called otherwise, which options go. Pure; what rows hold is asked by the caller.

use pmo_domain::api_types::FieldError;
use pmo_domain::catalog::{Datalabel, LabelOption};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Colours by name, as the app draws them.
pub const COLORS: [&str; 6] = ["grey", "blue", "green", "amber", "red", "purple"];
/// Most options of a set.
const MAX_OPTIONS: usize = 200;

/// An option as it is to be. Options stand in the order in which they come.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionInput {
    /// Of an option that is there already; none: a new one.
    #[serde(default)]
    pub id: Option<i32>,
    /// What it is called; rows that hold it follow a new name.
    pub name: String,
    /// What it means.
    #[serde(default)]
    pub descr: Option<String>,
    /// grey, blue, green, amber, red or purple.
    #[serde(default)]
    pub color_code: Option<String>,
    /// Nothing comes after it.
    #[serde(default)]
    pub terminal_flag: bool,
    /// Offered for choice.
    #[serde(default = "yes")]
    pub active_flag: bool,
    /// Names of the options that may come before it; none: any.
    #[serde(default)]
    pub after: Vec<String>,
}

fn yes() -> bool {
    true
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionSetPlan {
    /// The options then.
    pub options: Vec<LabelOption>,
    /// Names that rows hold, and what they hold then.
    pub renamed: BTreeMap<String, String>,
    /// Names that nothing may hold, because they go.
    pub removed: BTreeSet<String>,
}

/// Works out what a change comes to, or says what is wrong with it.
pub fn plan_change(present: &Datalabel, wanted: &[OptionInput]) -> Result<OptionSetPlan, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut wrong = |at: usize, field: &str, message: &str| {
        errors.push(FieldError { field: format!("options.{at}.{field}"), message: message.to_owned() });
    };
    if wanted.is_empty() || wanted.len() > MAX_OPTIONS || !wanted.iter().any(|w| w.active_flag) {
        wrong(0, "name", "a set has 1 to 200 options, at least one of them to choose");
    }
    let mut highest = present.options.iter().map(|o| o.id).max().unwrap_or_default();
    let mut ids: BTreeMap<&str, i32> = BTreeMap::new();
    let (mut seen, mut folded) = (BTreeSet::new(), BTreeSet::new());
    for (at, option) in wanted.iter().enumerate() {
        let name = option.name.as_str();
        if name.trim() != name || !(1..=200).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            wrong(at, "name", "must be 1 to 200 characters, without blanks at its ends");
        }
        if !folded.insert(name.to_lowercase()) {
            wrong(at, "name", "is there twice");
        }
        if option.color_code.as_deref().is_some_and(|colour| !COLORS.contains(&colour)) {
            wrong(at, "color_code", "is no colour of the app");
        }
        if option.descr.as_ref().is_some_and(|text| text.chars().count() > 1000 || text.contains('\0')) {
            wrong(at, "descr", "must have at most 1000 characters");
        }
        let id = match option.id {
            Some(id) if !present.options.iter().any(|o| o.id == id) => {
                wrong(at, "id", "is none of this set");
                id
            }
            Some(id) => id,
            None => {
                highest += 1;
                highest
            }
        };
        if !seen.insert(id) {
            wrong(at, "id", "is there twice");
        }
        ids.insert(name, id);
    }
    let mut options = Vec::new();
    for (at, option) in wanted.iter().enumerate() {
        let mut parent_ids = Vec::new();
        for before in &option.after {
            match ids.get(before.as_str()) {
                Some(_) if *before == option.name => wrong(at, "after", "can't come before itself"),
                Some(id) if !parent_ids.contains(id) => parent_ids.push(*id),
                Some(_) => {}
                None => wrong(at, "after", "names no option of this set"),
            }
        }
        let order = i32::try_from(at + 1).unwrap_or(i32::MAX).saturating_mul(10);
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
    let mut change = OptionSetPlan { options, ..OptionSetPlan::default() };
    for before in &present.options {
        match change.options.iter().find(|after| after.id == before.id) {
            None => drop(change.removed.insert(before.name.clone())),
            Some(after) if after.name != before.name => {
                change.renamed.insert(before.name.clone(), after.name.clone());
            }
            Some(_) => {}
        }
    }
    Ok(change)
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
        Datalabel { name: "stage".into(), options: names.iter().enumerate().map(option).collect() }
    }

    fn wanted(id: Option<i32>, name: &str) -> OptionInput {
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
    fn options_are_put_in_order_called_otherwise_added_and_taken_away() {
        let first = OptionInput { after: vec!["New".into(), "Doing".into()], ..wanted(Some(3), "Done") };
        let done =
            plan_change(&set(&["Open", "Started", "Done"]), &[first, wanted(Some(2), "Doing"), wanted(None, "New")])
                .unwrap();
        let told: Vec<_> = done.options.iter().map(|o| (o.id, o.name.as_str(), o.display_order)).collect();
        assert_eq!(told, [(3, "Done", 10), (2, "Doing", 20), (4, "New", 30)], "an id is never given again");
        assert_eq!(done.options[0].parent_ids, [4, 2]);
        assert_eq!(done.renamed, [("Started".to_owned(), "Doing".to_owned())].into());
        assert_eq!(done.removed, ["Open".to_owned()].into());
    }

    #[test]
    fn names_may_change_places() {
        let done = plan_change(&set(&["A", "B"]), &[wanted(Some(1), "B"), wanted(Some(2), "A")]).unwrap();
        assert_eq!(done.renamed, [("A".to_owned(), "B".to_owned()), ("B".to_owned(), "A".to_owned())].into());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fields = |list: &[OptionInput]| -> Vec<String> {
            plan_change(&set(&["A", "B"]), list).unwrap_err().into_iter().map(|e| e.field).collect()
        };
        assert_eq!(fields(&[]), ["options.0.name"]);
        assert_eq!(fields(&[wanted(Some(1), "A"), wanted(Some(2), "a")]), ["options.1.name"]);
        assert_eq!(fields(&[wanted(Some(9), "A")]), ["options.0.id"]);
        assert_eq!(fields(&[wanted(Some(1), "A"), wanted(Some(1), "B")]), ["options.1.id"]);
        assert_eq!(
            fields(&[OptionInput { color_code: Some("url(x)".into()), ..wanted(Some(1), "A") }]),
            ["options.0.color_code"]
        );
        assert_eq!(fields(&[OptionInput { after: vec!["C".into()], ..wanted(Some(1), "A") }]), ["options.0.after"]);
        assert_eq!(fields(&[OptionInput { after: vec!["A".into()], ..wanted(Some(1), "A") }]), ["options.0.after"]);
        assert_eq!(fields(&[OptionInput { active_flag: false, ..wanted(Some(1), "A") }]), ["options.0.name"]);
        assert_eq!(fields(&[wanted(Some(1), " A")]), ["options.0.name"]);
    }

    proptest! {
        #[test]
        fn a_change_that_is_taken_leaves_a_sound_set(picks in prop::collection::vec((prop::option::of(1..6i32), "[a-d]{1,2}", any::<bool>()), 0..8)) {
            let present = set(&["v", "w", "x", "y", "z"]);
            let list: Vec<OptionInput> = picks.iter().map(|(id, name, active)| OptionInput { active_flag: *active, ..wanted(*id, name) }).collect();
            if let Ok(done) = plan_change(&present, &list) {
                let ids: BTreeSet<_> = done.options.iter().map(|o| o.id).collect();
                let names: BTreeSet<_> = done.options.iter().map(|o| &o.name).collect();
                prop_assert_eq!((ids.len(), names.len()), (list.len(), list.len()));
                prop_assert!(done.options.iter().any(|o| o.active_flag));
                // Each option that was there is kept, called otherwise, or gone.
                for before in &present.options {
                    let kept = done.options.iter().any(|o| o.id == before.id);
                    prop_assert_eq!(kept, !done.removed.contains(&before.name));
                }
            }
        }
    }
}
