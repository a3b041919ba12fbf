use super::links::find_cycle;
use super::*;
use proptest::prelude::*;

fn project(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Project xmlns=\"http://schemas.microsoft.com/project\"><Name>p.xml</Name>{inner}</Project>"
    )
}

fn task(uid: i64, level: i64, inner: &str) -> String {
    format!("<Task><UID>{uid}</UID><Name>T{uid} &amp; co</Name><OutlineLevel>{level}</OutlineLevel>{inner}</Task>")
}

fn predecessor_link(uid: i64) -> String {
    format!("<PredecessorLink><PredecessorUID>{uid}</PredecessorUID><Type>1</Type></PredecessorLink>")
}

#[test]
fn outline_dates_links_and_people_are_parsed() {
    let text = project(&format!(
        "<MinutesPerDay>480</MinutesPerDay><Tasks>{}{}{}</Tasks>
         <Resources><Resource><UID>7</UID><Name>Ada</Name><Type>1</Type></Resource></Resources>
         <Assignments><Assignment><TaskUID>2</TaskUID><ResourceUID>7</ResourceUID></Assignment></Assignments>",
        task(1, 1, "<Summary>1</Summary>"),
        task(
            2,
            2,
            "<Start>2026-03-02T08:00:00</Start><Finish>2026-03-06T17:00:00</Finish><Duration>PT40H0M0S</Duration><PercentComplete>40</PercentComplete>"
        ),
        task(
            3,
            2,
            "<Milestone>1</Milestone><PredecessorLink><PredecessorUID>2</PredecessorUID><Type>3</Type><LinkLag>9600</LinkLag></PredecessorLink>"
        ),
    ));
    let plan = parse(text.as_bytes()).unwrap();
    assert_eq!(plan.title.as_deref(), Some("p"));
    assert_eq!(plan.tasks[1].name, "T2 & co");
    assert_eq!((plan.tasks[1].parent, plan.tasks[2].parent), (Some(0), Some(0)));
    assert_eq!((plan.tasks[1].days, plan.tasks[1].percent), (5.0, 40.0));
    assert_eq!(plan.links, [PlanLink { predecessor: 1, successor: 2, kind: "SS", lag_days: 2.0 }]);
    assert_eq!(plan.resources[0].tasks, [1]);
}

#[test]
fn missing_duration_is_derived_from_working_days() {
    let text = project(&format!(
        "<Tasks>{}</Tasks>",
        task(1, 1, "<Start>2026-03-05T09:00:00</Start><Finish>2026-03-10T17:00:00</Finish>")
    ));
    assert_eq!(parse(text.as_bytes()).unwrap().tasks[0].days, 4.0);
}

#[test]
fn invalid_files_are_rejected_with_a_reason() {
    let complete = project(&format!("<Tasks>{}</Tasks>", task(1, 1, "")));
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><Project><Name>&b;</Name></Project>";
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "empty"),
        (complete[..complete.len() - 20].to_owned(), "truncated"),
        (bomb.to_owned(), "document type"),
        (project("<Name>&custom;</Name>"), "entity"),
        ("<html></html>".to_owned(), "not Microsoft Project"),
        ("PK\u{3}\u{4}".to_owned(), ""),
        (project(&"<a>".repeat(200)), "nested"),
        (project(&format!("<Tasks>{}</Tasks>", task(1, 1, &predecessor_link(9)))), "task 9, which is not in the plan"),
        (project(&format!("<Tasks>{}</Tasks>", task(1, 1, &predecessor_link(1)))), "depends on itself"),
        (
            project(&format!(
                "<Tasks>{}{}{}</Tasks>",
                task(1, 1, &predecessor_link(3)),
                task(2, 1, &predecessor_link(1)),
                task(3, 1, &predecessor_link(2))
            )),
            "dependency cycle",
        ),
        (project(&format!("<Tasks>{0}{0}</Tasks>", task(1, 1, ""))), "same UID"),
        (project("<Tasks><Task><Name>x</Name></Task></Tasks>"), "no <UID>"),
        (project(&format!("<Tasks>{}</Tasks>", task(1, 1, "<Start>soon</Start>"))), "not a date"),
    ];
    for (text, expected) in cases {
        let error = parse(text.as_bytes()).expect_err(expected);
        assert!(error.message.contains(expected), "expected '{expected}', got '{}'", error.message);
    }
    assert!(parse(&[0xff, 0xfe, 0x00]).unwrap_err().message.contains("UTF-8"));
}

#[test]
fn skipped_elements_are_counted_by_reason() {
    let text =
        project(&format!("<Tasks>{}{}</Tasks>", task(0, 0, ""), task(1, 1, "<ConstraintType>2</ConstraintType>")));
    let plan = parse(text.as_bytes()).unwrap();
    assert_eq!(plan.tasks.len(), 1);
    let elements: Vec<_> = plan.skipped.keys().map(|key| key.0.as_str()).collect();
    assert_eq!(elements, ["ConstraintType", "Task"]);
}

proptest! {
    #[test]
    fn truncated_plan_is_rejected(end in 0..1usize << 16) {
        let text = project(&format!("<Tasks>{}{}</Tasks>", task(1, 1, ""), task(2, 2, &predecessor_link(1))));
        let end = end % text.len();
        prop_assert!(parse(&text.as_bytes()[..end]).is_err());
    }

    #[test]
    fn cycle_is_found_if_and_only_if_it_exists(edges in proptest::collection::vec((0..8usize, 0..8usize), 0..16)) {
        let links: Vec<PlanLink> = edges.into_iter().filter(|(a, b)| a != b)
            .map(|(predecessor, successor)| PlanLink { predecessor, successor, kind: "FS", lag_days: 0.0 }).collect();
        // The expected result comes from a transitive closure: a task with a path to itself is on a
        // cycle.
        let mut reachable = [[false; 8]; 8];
        for link in &links { reachable[link.predecessor][link.successor] = true; }
        for k in 0..8 { for i in 0..8 { for j in 0..8 { reachable[i][j] |= reachable[i][k] && reachable[k][j]; } } }
        let expected = (0..8).any(|i| reachable[i][i]);
        let found = find_cycle(8, &links);
        prop_assert_eq!(found.is_some(), expected);
        if let Some(cycle) = found {
            for (i, task) in cycle.iter().enumerate() {
                let next = cycle[(i + 1) % cycle.len()];
                prop_assert!(links.iter().any(|link| link.predecessor == *task && link.successor == next));
            }
        }
    }
}
