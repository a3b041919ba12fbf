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

fn mapped(text: &str, people: &People) -> MappedPlan {
    map_and_schedule(&parse(text.as_bytes()).unwrap(), Uuid::from_u128(1), people).unwrap()
}

#[test]
fn outline_inputs_links_and_people_become_rows() {
    let text = project(&format!(
        "<StartDate>2026-03-02T08:00:00</StartDate><MinutesPerDay>480</MinutesPerDay><Tasks>{}{}{}</Tasks>
         <Resources><Resource><UID>7</UID><Name>Ada</Name><Type>1</Type></Resource></Resources>
         <Assignments><Assignment><TaskUID>2</TaskUID><ResourceUID>7</ResourceUID><Units>0.5</Units></Assignment></Assignments>",
        task(1, 1, "<Summary>1</Summary>"),
        task(
            2,
            2,
            "<ActualStart>2026-03-02T08:00:00</ActualStart><Duration>PT40H0M0S</Duration><PercentComplete>40</PercentComplete>"
        ),
        task(
            3,
            2,
            "<Milestone>1</Milestone><PredecessorLink><PredecessorUID>2</PredecessorUID><Type>3</Type><LinkLag>9600</LinkLag></PredecessorLink>"
        ),
    ));
    let ada = Uuid::from_u128(7);
    let people = People { by_uid: [(7, ada)].into(), ..People::default() };
    let plan = parse(text.as_bytes()).unwrap();
    assert_eq!(plan.file.project.title.as_deref(), Some("p"));
    let rows = mapped(&text, &people).rows;
    assert_eq!(rows.tasks[1]["name"], "T2 & co");
    assert_eq!(
        (&rows.tasks[1]["parent__task_id"], &rows.tasks[2]["parent__task_id"]),
        (&rows.tasks[0]["id"], &rows.tasks[0]["id"])
    );
    assert_eq!((&rows.tasks[1]["duration_days"], &rows.tasks[1]["completion_pct"]), (&json!(5), &json!(40)));
    let link = &rows.dependencies[0];
    assert_eq!(
        (
            &link["predecessor__task_id"],
            &link["successor__task_id"],
            &link["dl__dependency_type"],
            &link["lag_minutes"],
            &link["lag_days"]
        ),
        (&rows.tasks[1]["id"], &rows.tasks[2]["id"], &json!("SS"), &json!(960), &json!(2))
    );
    assert_eq!(rows.tasks[1]["assignee__employee_ids"], json!([ada]));
    assert_eq!((&rows.assignments[0]["employee_id"], &rows.assignments[0]["units_pct"]), (&json!(ada), &json!(50)));
    // Two days of work after the start of its predecessor; a milestone stands at their end.
    assert_eq!(
        (&rows.tasks[2]["start_ts"], &rows.tasks[2]["due_date"]),
        (&json!("2026-03-03T17:00:00"), &json!("2026-03-03"))
    );
}

#[test]
fn missing_duration_is_derived_from_working_time() {
    let text = project(&format!(
        "<Tasks>{}</Tasks>",
        task(1, 1, "<Start>2026-03-05T08:00:00</Start><Finish>2026-03-10T17:00:00</Finish>")
    ));
    let task = &mapped(&text, &People::default()).rows.tasks[0];
    assert_eq!(
        (&task["duration_days"], &task["start_date"], &task["due_date"]),
        (&json!(4), &json!("2026-03-05"), &json!("2026-03-10"))
    );
}

#[test]
fn invalid_files_are_rejected_with_a_reason() {
    let complete = project(&format!("<Tasks>{}</Tasks>", task(1, 1, "")));
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><Project><Name>&b;</Name></Project>";
    let many: String = (0..=MAX_TASKS).map(|uid| format!("<Task><UID>{uid}</UID></Task>")).collect();
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "empty"),
        (complete[..complete.len() - 20].to_owned(), "truncated"),
        (bomb.to_owned(), "document type"),
        (project("<Name>&custom;</Name>"), "entity"),
        ("<html></html>".to_owned(), "not Microsoft Project"),
        ("PK\u{3}\u{4}".to_owned(), ""),
        (project(&"<a>".repeat(200)), "nested"),
        (project(&format!("<Tasks>{many}</Tasks>")), "more than 20000 tasks"),
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
        (
            project(&format!(
                "<Tasks>{}{}</Tasks>",
                task(1, 1, ""),
                task(2, 1, "<PredecessorLink><PredecessorUID>1</PredecessorUID><Type>7</Type></PredecessorLink>")
            )),
            "valid types are 0 to 3",
        ),
        (project(&format!("<Tasks>{0}{0}</Tasks>", task(1, 1, ""))), "same UID"),
        (project("<Tasks><Task><Name>x</Name></Task></Tasks>"), "no <UID>"),
        (project(&format!("<Tasks>{}</Tasks>", task(1, 1, "<Start>soon</Start>"))), "not a date"),
        (project(&format!("<Tasks>{}</Tasks>", task(1, 1, "<Deadline>soon</Deadline>"))), "not a date"),
    ];
    for (text, expected) in cases {
        let error = parse(text.as_bytes()).expect_err(expected);
        assert!(error.message.contains(expected), "expected '{expected}', got '{}'", error.message);
    }
    assert!(parse(&[0xff, 0xfe, 0x00]).unwrap_err().message.contains("UTF-8"));
}

#[test]
fn skipped_elements_are_counted_by_reason() {
    let inner = "<ConstraintType>2</ConstraintType><ConstraintDate>2026-03-02T08:00:00</ConstraintDate><Cost>5</Cost>";
    let text = project(&format!("<Author>A</Author><Tasks>{}{}</Tasks>", task(0, 0, ""), task(1, 1, inner)));
    let plan = parse(text.as_bytes()).unwrap();
    let mapped = mapped(&text, &People::default());
    assert_eq!(mapped.rows.tasks.len(), 1);
    assert_eq!(mapped.rows.tasks[0]["dl__constraint_type"], "Must Start On");
    let elements: Vec<_> = mapped.skipped.keys().map(|key| key.0.as_str()).collect();
    assert_eq!(elements, ["Task"]);
    let fields: Vec<_> = plan.unread.keys().map(|key| key.1.as_str()).collect();
    assert_eq!(fields, ["Author", "Cost"]);
}

proptest! {
    #[test]
    fn truncated_plan_is_rejected(end in 0..1usize << 16) {
        let text = project(&format!("<Tasks>{}{}</Tasks>", task(1, 1, ""), task(2, 2, &predecessor_link(1))));
        let end = end % text.len();
        prop_assert!(parse(&text.as_bytes()[..end]).is_err());
    }
}
