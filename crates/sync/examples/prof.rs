use pmo_domain::query::{Filter, Operator};
use pmo_domain::*;
use pmo_sync::store::*;
use pmo_sync::*;
use serde_json::{Value, json};
use std::time::Instant;
use uuid::Uuid;
fn code() -> EntityCode {
    EntityCode::new("task").unwrap()
}
fn rid(n: u32) -> Uuid {
    Uuid::from_u128((0x0199_0000_0000_7000u128 << 64) | u128::from(n))
}
fn whole() -> ListKey {
    ListKey::below(code(), EntityRef::new(EntityCode::new("project").unwrap(), Uuid::from_u128(7)), "project_id")
}
fn part(b: u32) -> ListKey {
    whole()
        .filtered(Filter { column: "budget_amt".into(), operator: Operator::Gte, values: vec![b.to_string()] })
        .sorted("name", false)
}
fn types() -> Value {
    let entities = ["task".to_owned(), "project".to_owned()].into();
    let columns =
        [("id", "uuid"), ("name", "text"), ("budget_amt", "numeric"), ("priority", "int4"), ("project_id", "uuid")];
    let columns = columns.map(|(name, kind)| Column::infer("task", name, kind, false, &entities)).to_vec();
    let task = EntityType {
        code: code(),
        name: "Task".into(),
        ui_label: "Tasks".into(),
        ui_icon: String::new(),
        root_flag: false,
        display_order: 0,
        children: vec![],
        columns,
        config_datatable: Value::Null,
    };
    json!([task])
}
struct B {
    e: Engine,
    store: MemoryStore,
    reqs: Vec<(RequestId, Request)>,
    tasks: Vec<Effect>,
}
impl B {
    fn h(&mut self, ev: Event) {
        for x in self.e.handle(ev, 1e12) {
            match x {
                Effect::Fetch(i, r) => self.reqs.push((i, r)),
                Effect::Persist(..) | Effect::Read(..) => self.tasks.push(x),
                _ => {}
            }
        }
    }
    fn settle(&mut self) {
        while !self.tasks.is_empty() {
            for t in std::mem::take(&mut self.tasks) {
                match t {
                    Effect::Persist(b, w) => {
                        self.store.write_now(&w);
                        self.h(Event::Persisted(b, Ok(())));
                    }
                    Effect::Read(a, n) => {
                        let f = self.store.read_now(a, Which::Names(&n));
                        self.h(Event::Read(a, n, f));
                    }
                    _ => {}
                }
            }
        }
    }
    fn first(&self, rows: usize, key: &ListKey) -> usize {
        let l = self.e.list(key);
        l.ids
            .iter()
            .take(rows)
            .filter_map(|id| self.e.row(&EntityRef::new(code(), *id)))
            .filter(|r| r.data.get("name").is_some())
            .count()
    }
}
fn start(store: MemoryStore) -> B {
    let stored = Stored {
        log: store.read_now(Area::Entities, Which::Prefix(ROW)),
        chunks: store.read_now(Area::Entities, Which::Prefix(CHUNK)).into_iter().map(|(n, _)| n).collect(),
        lists: store.read_now(Area::Lists, Which::All),
        metadata: store.read_now(Area::Metadata, Which::All),
        drafts: vec![],
        outbox: vec![],
    };
    let mut b = B { e: Engine::new(1), store, reqs: vec![], tasks: vec![] };
    b.h(Event::Start {
        person: PersonId(Uuid::from_u128(1)),
        tab: TabId(Uuid::from_u128(2)),
        stored: Box::new(stored),
        term: Some(1),
    });
    b
}
fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let words: Vec<&str> = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo sierra tango".split(' ').collect();
    let descr = (0..84).map(|i| words[(i * 7) % 20]).collect::<Vec<_>>().join(" ");
    let row = |n: usize| json!({"id":rid(n as u32),"code":format!("T-{n}"),"name":format!("{} {} {n}",words[(n*13)%20],words[(n*7)%20]),"descr":descr,"project_id":Uuid::from_u128(7),"priority":n%5,"budget_amt":(n*7919)%10000,"version":1,"active_flag":true,"created_ts":"2026-11-20T10:11:12.131415Z","updated_ts":"2026-11-25T10:11:12.131415Z","permission":7});
    let pages: Vec<String> = (0..n / 1000)
        .map(|p| {
            let d: Vec<Value> = (0..1000).map(|i| row(p * 1000 + i)).collect();
            let mut v = json!({"data":d});
            if (p + 1) * 1000 < n {
                v["next_cursor"] = json!(format!("c{p}"));
            }
            v.to_string()
        })
        .collect();
    let mut b = start(MemoryStore::default());
    b.h(Event::Observe(ObserverId(1), Query::Meta(MetaKey::Codes)));
    b.h(Event::Observe(ObserverId(2), Query::List(whole())));
    b.settle();
    let t = Instant::now();
    for p in &pages {
        for (i, r) in std::mem::take(&mut b.reqs) {
            let body = if r.path.contains("/task") { p.clone() } else { types().to_string() };
            b.h(Event::Answered(i, Ok(Answer { body, feed_cursor: Some("1.1".into()), ..Answer::default() })));
        }
    }
    println!("answers {:?}", t.elapsed());
    b.settle();
    println!("persist {:?}", t.elapsed());
    for k in 0..3 {
        let t = Instant::now();
        b.h(Event::Observe(ObserverId(3), Query::List(part(3000 + k))));
        let o = t.elapsed();
        let f = b.first(100, &part(3000 + k));
        println!("part {k} {o:?} {:?} {f}", t.elapsed());
    }
    let t = Instant::now();
    for k in 0..100u32 {
        let patch = [("budget_amt".to_owned(), json!(if k % 2 == 1 { 1 } else { 9000 }))].into_iter().collect();
        b.h(Event::Update {
            entity: EntityRef::new(code(), rid(k * 37)),
            patch,
            ids: [Uuid::from_u128(1000 + 2 * k as u128), Uuid::from_u128(1001 + 2 * k as u128)],
        });
        b.first(100, &part(3002));
    }
    println!("change {:?}", t.elapsed() / 100);
    let t = Instant::now();
    for k in 0..500u32 {
        let patch = [("name".to_owned(), json!("typed"))].into_iter().collect();
        b.h(Event::Update {
            entity: EntityRef::new(code(), rid(200 + k)),
            patch,
            ids: [Uuid::from_u128(5000 + 2 * k as u128), Uuid::from_u128(5001 + 2 * k as u128)],
        });
    }
    println!("burst {:?}", t.elapsed() / 500);
    let t = Instant::now();
    b.settle();
    println!("burst settled {:?}", t.elapsed() / 500);
    let store = b.store.clone();
    drop(b);
    let t = Instant::now();
    let mut b = start(store);
    println!("start {:?}", t.elapsed());
    b.h(Event::Observe(ObserverId(1), Query::Meta(MetaKey::Codes)));
    b.h(Event::Observe(ObserverId(2), Query::List(whole())));
    let mut steps = 0;
    while b.first(50, &whole()) < 50 {
        steps += 1;
        let t = b.tasks.remove(0);
        match t {
            Effect::Persist(x, w) => {
                b.store.write_now(&w);
                b.h(Event::Persisted(x, Ok(())));
            }
            Effect::Read(a, n) => {
                let f = b.store.read_now(a, Which::Names(&n));
                b.h(Event::Read(a, n, f));
            }
            _ => {}
        }
    }
    println!("first {:?} after {steps}", t.elapsed());
    b.settle();
    println!("all {:?}", t.elapsed());
}
