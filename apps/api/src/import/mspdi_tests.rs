use super::*;
use proptest::prelude::*;

fn project(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Project xmlns=\"http://schemas.microsoft.com/project\"><Name>p.xml</Name>{inner}</Project>"
    )
}

fn task(uid: i64, level: i64, more: &str) -> String {
    format!("<Task><UID>{uid}</UID><Name>T{uid} &amp; co</Name><OutlineLevel>{level}</OutlineLevel>{more}</Task>")
}

fn after(uid: i64) -> String {
    format!("<PredecessorLink><PredecessorUID>{uid}</PredecessorUID><Type>1</Type></PredecessorLink>")
}

#[test]
fn outline_dates_links_and_people_arrive() {
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
fn a_length_without_duration_counts_working_days() {
    let text = project(&format!(
        "<Tasks>{}</Tasks>",
        task(1, 1, "<Start>2026-03-05T09:00:00</Start><Finish>2026-03-10T17:00:00</Finish>")
    ));
    assert_eq!(parse(text.as_bytes()).unwrap().tasks[0].days, 4.0);
}

#[test]
fn broken_files_are_refused_in_plain_words() {
    let whole = project(&format!("<Tasks>{}</Tasks>", task(1, 1, "")));
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><Project><Name>&b;</Name></Project>";
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "empty"),
        (whole[..whole.len() - 20].to_owned(), "cut off"),
        (bomb.to_owned(), "document type"),
        (project("<Name>&custom;</Name>"), "entity"),
        ("<html></html>".to_owned(), "not Microsoft Project"),
        ("PK\u{3}\u{4}".to_owned(), ""),
        (project(&"<a>".repeat(200)), "nested"),
        (project(&format!("<Tasks>{}</Tasks>", task(1, 1, &after(9)))), "task 9, which is not in the plan"),
        (project(&format!("<Tasks>{}</Tasks>", task(1, 1, &after(1)))), "waits for itself"),
        (
            project(&format!(
                "<Tasks>{}{}{}</Tasks>",
                task(1, 1, &after(3)),
                task(2, 1, &after(1)),
                task(3, 1, &after(2))
            )),
            "ring",
        ),
        (project(&format!("<Tasks>{0}{0}</Tasks>", task(1, 1, ""))), "same UID"),
        (project("<Tasks><Task><Name>x</Name></Task></Tasks>"), "no <UID>"),
        (project(&format!("<Tasks>{}</Tasks>", task(1, 1, "<Start>soon</Start>"))), "not a date"),
    ];
    for (text, words) in cases {
        let error = parse(text.as_bytes()).expect_err(words);
        assert!(error.message.contains(words), "expected '{words}', got '{}'", error.message);
    }
    assert!(parse(&[0xff, 0xfe, 0x00]).unwrap_err().message.contains("UTF-8"));
}

#[test]
fn what_is_left_out_is_counted_with_the_reason() {
    let text =
        project(&format!("<Tasks>{}{}</Tasks>", task(0, 0, ""), task(1, 1, "<ConstraintType>2</ConstraintType>")));
    let plan = parse(text.as_bytes()).unwrap();
    assert_eq!(plan.tasks.len(), 1);
    let whats: Vec<_> = plan.skipped.keys().map(|k| k.0.as_str()).collect();
    assert_eq!(whats, ["ConstraintType", "Task"]);
}

proptest! {
    #[test]
    fn no_cut_of_a_plan_panics_or_passes(cut in 0..1usize << 16) {
        let text = project(&format!("<Tasks>{}{}</Tasks>", task(1, 1, ""), task(2, 2, &after(1))));
        let cut = cut % text.len();
        prop_assert!(parse(&text.as_bytes()[..cut]).is_err());
    }

    #[test]
    fn a_ring_is_found_exactly_where_there_is_one(edges in proptest::collection::vec((0..8usize, 0..8usize), 0..16)) {
        let links: Vec<PlanLink> = edges.into_iter().filter(|(a, b)| a != b)
            .map(|(predecessor, successor)| PlanLink { predecessor, successor, kind: "FS", lag_days: 0.0 }).collect();
        // Reachability by repeated squaring is slow and plain: a task that reaches itself is on a ring.
        let mut reach = [[false; 8]; 8];
        for l in &links { reach[l.predecessor][l.successor] = true; }
        for k in 0..8 { for i in 0..8 { for j in 0..8 { reach[i][j] |= reach[i][k] && reach[k][j]; } } }
        let expected = (0..8).any(|i| reach[i][i]);
        let found = find_cycle(8, &links);
        prop_assert_eq!(found.is_some(), expected);
        if let Some(ring) = found {
            for (i, task) in ring.iter().enumerate() {
                let next = ring[(i + 1) % ring.len()];
                prop_assert!(links.iter().any(|l| l.predecessor == *task && l.successor == next));
            }
        }
    }
}
