//! What every engine promises. Each story runs on all of them.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

use tempfile::TempDir;
use tertulia_protocol::{Cid, Epoch, Role, RoomId, RoomKind, UserId};
use tertulia_store::{
    Changes, Durability, Head, Memory, NewEvent, Range, Reader, Remembered, Room, RoomNo, Standing,
    Store, Writer,
};

struct Engine {
    name: &'static str,
    store: Store,
    dir: Option<TempDir>,
    memory: Memory,
}

impl Engine {
    fn writer(&self) -> Writer {
        self.store.writer().unwrap()
    }

    fn reader(&self) -> Reader {
        self.store.reader().unwrap()
    }

    /// Everything but what is committed is gone.
    fn reopened(self) -> Engine {
        drop(self.store);
        let store = match &self.dir {
            Some(dir) => Store::open(dir.path(), Durability::Fsync).unwrap().0,
            None => Store::in_memory(&self.memory),
        };
        Engine { store, ..self }
    }
}

fn on_every_engine(story: impl Fn(Engine)) {
    let memory = Memory::default();
    let store = Store::in_memory(&memory);
    story(Engine { name: "memory", store, dir: None, memory });
    let dir = tempfile::tempdir().unwrap();
    let (store, found) = Store::open(dir.path(), Durability::Fsync).unwrap();
    assert!(found.fresh);
    story(Engine { name: "sqlite", store, dir: Some(dir), memory: Memory::default() });
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn garden(no: u64, head: u64) -> Room {
    Room {
        no: RoomNo(no),
        id: RoomId::parse("garden").unwrap(),
        epoch: Epoch::parse("e7").unwrap(),
        head: Head { seq: head, n: head, first: 1, ts: 1000 + head },
        kind: RoomKind::Group,
        name: Some("Grüner Garten".into()),
        d: Some(r#"{"colour":"green"}"#.into()),
        by: Some(user("ada")),
        members: 1,
        owners: 1,
    }
}

fn event(room: RoomNo, seq: u64, bytes: &[u8]) -> NewEvent<'_> {
    NewEvent { room, seq, ts: 1000 + seq, by: None, kind: "msg", bytes }
}

fn numbers(reader: &mut Reader, range: Range) -> Vec<u64> {
    reader.log(range).unwrap().iter().map(|event| event.seq).collect()
}

fn whole(room: u64) -> Range {
    Range { room: RoomNo(room), after: 0, upto: u64::MAX, limit: 1000, bytes_max: 1 << 20 }
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    on_every_engine(|engine| {
        let room = garden(1, 2);
        let cid = Cid::parse("c1").unwrap();
        let sender = Some(user("ada"));
        let remembered = Remembered { seq: 2, n: Some(1), ts: 1002, hash: u128::MAX - 1 };
        engine
            .writer()
            .commit(&Changes {
                rooms: vec![&room],
                events: vec![event(room.no, 1, b"one"), event(room.no, 2, b"two")],
                remembered: vec![(room.no, &sender, cid, remembered)],
                standings: vec![(room.no, &user("ada"), Standing::Member(Role::Owner))],
                revoked: vec![(&user("eve"), 77)],
                ..Changes::default()
            })
            .unwrap();

        let engine = engine.reopened();
        let mut reader = engine.reader();
        assert_eq!(reader.room(&room.id).unwrap(), Some(room.clone()), "{}", engine.name);
        assert_eq!(numbers(&mut reader, whole(1)), [1, 2]);
        assert_eq!(reader.log(whole(1)).unwrap()[1].bytes, b"two");
        assert_eq!(reader.standing(room.no, &user("ada")).unwrap(), Standing::Member(Role::Owner));
        assert_eq!(reader.standing(room.no, &user("bob")).unwrap(), Standing::Stranger);
        assert_eq!(reader.revoked().unwrap(), [(user("eve"), 77)]);
        let mut writer = engine.writer();
        assert_eq!(writer.remembered(room.no, &sender, &cid).unwrap(), Some(remembered));
        assert_eq!(writer.remembered(room.no, &None, &cid).unwrap(), None);
        assert_eq!(writer.remembered(RoomNo(2), &sender, &cid).unwrap(), None);
        assert_eq!(writer.rooms_made_by(&user("ada")).unwrap(), 1);
        assert_eq!(writer.last_room_no().unwrap(), RoomNo(1));
    });
}

#[test]
fn a_log_is_read_in_pages_without_holes() {
    on_every_engine(|engine| {
        let (room, other) =
            (garden(1, 10), Room { id: RoomId::parse("z").unwrap(), ..garden(2, 1) });
        let lines: Vec<Vec<u8>> = (1..=10).map(|i| vec![b'x'; 10 * i]).collect();
        let mut events: Vec<_> =
            lines.iter().zip(1..).map(|(line, seq)| event(room.no, seq, line)).collect();
        events.push(event(other.no, 1, b"of another room"));
        engine
            .writer()
            .commit(&Changes { rooms: vec![&room, &other], events, ..Changes::default() })
            .unwrap();

        let mut reader = engine.reader();
        let mut check = |after, upto, limit, bytes_max, expected: &[u64]| {
            let range = Range { room: room.no, after, upto, limit, bytes_max };
            assert_eq!(numbers(&mut reader, range), expected, "{} {range:?}", engine.name);
        };
        check(0, 10, 100, 9999, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        check(4, 6, 100, 9999, &[5, 6]);
        check(4, 10, 3, 9999, &[5, 6, 7]);
        check(4, 10, 100, 110, &[5, 6]); // 50 + 60 bytes
        check(4, 10, 100, 1, &[5]); // always one
        check(10, 10, 100, 9999, &[]);
        check(10, 99, 100, 9999, &[]);
        check(6, 4, 100, 9999, &[]);
    });
}

#[test]
fn a_commit_is_all_or_nothing() {
    on_every_engine(|engine| {
        let room = garden(1, 1);
        let mut writer = engine.writer();
        let changes = Changes {
            rooms: vec![&room],
            events: vec![event(room.no, 1, b"one")],
            ..Changes::default()
        };
        if engine.name == "memory" {
            engine.memory.fail_commits(1);
            writer.commit(&changes).unwrap_err();
        } else {
            let twice = vec![event(room.no, 1, b"one"), event(room.no, 1, b"again")];
            writer
                .commit(&Changes { rooms: vec![&room], events: twice, ..Changes::default() })
                .unwrap_err();
        }
        assert_eq!(engine.reader().room(&room.id).unwrap(), None);
        assert!(numbers(&mut engine.reader(), whole(1)).is_empty());
        writer.commit(&changes).unwrap();
        assert_eq!(numbers(&mut engine.reader(), whole(1)), [1]);
    });
}

#[test]
fn a_deleted_room_leaves_nothing_and_its_number_is_not_given_again() {
    on_every_engine(|engine| {
        let room = garden(7, 1);
        let cid = Cid::parse("c1").unwrap();
        let sender = None;
        let mut writer = engine.writer();
        writer
            .commit(&Changes {
                rooms: vec![&room],
                events: vec![event(room.no, 1, b"one")],
                remembered: vec![(
                    room.no,
                    &sender,
                    cid,
                    Remembered { seq: 1, n: None, ts: 1, hash: 0 },
                )],
                standings: vec![(room.no, &user("ada"), Standing::Member(Role::Owner))],
                ..Changes::default()
            })
            .unwrap();
        let again = Room { no: RoomNo(8), epoch: Epoch::parse("e8").unwrap(), ..garden(8, 0) };
        writer
            .commit(&Changes { gone: vec![room.no], rooms: vec![&again], ..Changes::default() })
            .unwrap();
        assert_eq!(engine.reader().room(&room.id).unwrap(), Some(again));
        writer.commit(&Changes { gone: vec![RoomNo(8)], ..Changes::default() }).unwrap();
        while writer.sweep(0).unwrap() {}

        let mut reader = engine.reader();
        assert_eq!(reader.room(&room.id).unwrap(), None);
        assert!(numbers(&mut reader, whole(7)).is_empty());
        assert_eq!(reader.standing(room.no, &user("ada")).unwrap(), Standing::Stranger);
        assert_eq!(reader.rooms_of(&user("ada"), None, 10).unwrap(), []);
        assert_eq!(writer.remembered(room.no, &sender, &cid).unwrap(), None);
        let engine = engine.reopened();
        assert_eq!(engine.writer().last_room_no().unwrap(), RoomNo(8), "{}", engine.name);
    });
}

#[test]
fn old_cids_are_forgotten_and_young_ones_are_not() {
    on_every_engine(|engine| {
        let sender = Some(user("ada"));
        let mut writer = engine.writer();
        let cids: Vec<Cid> = (0..1200).map(|i| Cid::parse(&format!("c{i}")).unwrap()).collect();
        let remembered = cids
            .iter()
            .zip(1..)
            .map(|(cid, ts)| {
                (RoomNo(1), &sender, *cid, Remembered { seq: ts, n: None, ts, hash: 1 })
            })
            .collect();
        writer.commit(&Changes { remembered, ..Changes::default() }).unwrap();
        while writer.sweep(1001).unwrap() {}
        let known =
            cids.iter().filter(|cid| writer.remembered(RoomNo(1), &sender, cid).unwrap().is_some());
        assert_eq!(known.count(), 200, "{}", engine.name);
    });
}

#[test]
fn cids_are_walked_over_once_an_hour_and_not_without_end() {
    on_every_engine(|engine| {
        let sender = Some(user("ada"));
        let mut writer = engine.writer();
        while writer.sweep(1001).unwrap() {}
        let cid = Cid::parse("late").unwrap();
        let said = Remembered { seq: 1, n: None, ts: 1, hash: 1 };
        let remembered = vec![(RoomNo(1), &sender, cid, said)];
        writer.commit(&Changes { remembered, ..Changes::default() }).unwrap();
        let an_hour = 3600 * 1000;
        while writer.sweep(1000 + an_hour).unwrap() {}
        let soon = writer.remembered(RoomNo(1), &sender, &cid).unwrap();
        assert_eq!(soon, Some(said), "{}: within the hour", engine.name);
        while writer.sweep(1001 + an_hour).unwrap() {}
        let late = writer.remembered(RoomNo(1), &sender, &cid).unwrap();
        assert_eq!(late, None, "{}: after it", engine.name);
    });
}

#[test]
fn the_highest_cid_of_a_sender_is_the_last_one_in_the_order_of_texts() {
    on_every_engine(|engine| {
        let (ada, key) = (Some(user("ada")), None);
        let said = Remembered { seq: 1, n: None, ts: 1, hash: 1 };
        let named = |room, sender, text| (RoomNo(room), sender, Cid::parse(text).unwrap(), said);
        let remembered = vec![
            named(1, &ada, "b"),
            named(1, &ada, "aaaa"),
            named(1, &ada, "B"),
            named(1, &ada, "-"),
            named(1, &key, "_"),
            named(2, &ada, "z"),
        ];
        let mut writer = engine.writer();
        writer.commit(&Changes { remembered, ..Changes::default() }).unwrap();
        let mut highest = |room, sender| {
            let highest = writer.highest_cid(RoomNo(room), sender).unwrap();
            highest.map(|cid| cid.to_string())
        };
        assert_eq!(highest(1, &ada).as_deref(), Some("b"), "{}", engine.name);
        assert_eq!(highest(1, &key).as_deref(), Some("_"), "{}", engine.name);
        assert_eq!(highest(2, &ada).as_deref(), Some("z"), "{}", engine.name);
        assert_eq!(highest(1, &Some(user("bob"))), None, "{}", engine.name);
    });
}

#[test]
fn rooms_that_are_made_and_deleted_in_a_loop_do_not_outpace_the_cleaning() {
    on_every_engine(|engine| {
        let sender = Some(user("ada"));
        let mut writer = engine.writer();
        let old = Cid::parse("old").unwrap();
        let said = Remembered { seq: 1, n: None, ts: 1, hash: 1 };
        let remembered = vec![(RoomNo(1), &sender, old, said)];
        writer.commit(&Changes { remembered, ..Changes::default() }).unwrap();
        for no in 2..102 {
            for no in [2 * no, 2 * no + 1] {
                let room = garden(no, 1);
                let events = vec![event(room.no, 1, b"one")];
                let made = Changes { rooms: vec![&room], events, ..Changes::default() };
                writer.commit(&made).unwrap();
                writer.commit(&Changes { gone: vec![room.no], ..Changes::default() }).unwrap();
            }
            // One step for two rooms, and it never gets a rest.
            writer.sweep(1000).unwrap();
        }
        let known = writer.remembered(RoomNo(1), &sender, &old).unwrap();
        assert_eq!(known, None, "{}: old cids wait for the rooms to end", engine.name);
        writer.sweep(1000).unwrap();
        let mut reader = engine.reader();
        let left = (4..206).filter(|no| !reader.log(whole(*no)).unwrap().is_empty()).count();
        assert_eq!(left, 0, "{}: of so many deleted rooms something is left", engine.name);
    });
}

#[test]
fn a_long_room_goes_in_many_steps() {
    on_every_engine(|engine| {
        let room = garden(1, 3000);
        let events = (1..=3000).map(|seq| event(room.no, seq, b"x")).collect();
        let mut writer = engine.writer();
        writer.commit(&Changes { rooms: vec![&room], events, ..Changes::default() }).unwrap();
        writer.commit(&Changes { gone: vec![room.no], ..Changes::default() }).unwrap();
        while writer.sweep(0).unwrap() {}
        assert!(numbers(&mut engine.reader(), whole(1)).is_empty(), "{}", engine.name);
    });
}

#[test]
fn members_and_rooms_are_listed_in_pages_by_name() {
    on_every_engine(|engine| {
        let rooms: Vec<Room> = ["a", "b", "c"]
            .iter()
            .zip(1..)
            .map(|(id, no)| Room { id: RoomId::parse(id).unwrap(), ..garden(no, 1) })
            .collect();
        let (ada, bob, cy) = (user("ada"), user("bob"), user("cy"));
        engine
            .writer()
            .commit(&Changes {
                rooms: rooms.iter().collect(),
                standings: vec![
                    (RoomNo(1), &ada, Standing::Member(Role::Owner)),
                    (RoomNo(1), &bob, Standing::Member(Role::Reader)),
                    (RoomNo(1), &cy, Standing::Banned),
                    (RoomNo(2), &ada, Standing::Removed),
                    (RoomNo(3), &ada, Standing::Member(Role::Member)),
                ],
                ..Changes::default()
            })
            .unwrap();
        let mut reader = engine.reader();
        let mut rooms_of = |user: &UserId, after: Option<&str>, limit| -> Vec<String> {
            let after = after.map(|id| RoomId::parse(id).unwrap());
            let rooms = reader.rooms_of(user, after.as_ref(), limit).unwrap();
            rooms.iter().map(|(room, role)| format!("{} {role}", room.id)).collect()
        };
        assert_eq!(rooms_of(&ada, None, 10), ["a owner", "c member"], "{}", engine.name);
        assert_eq!(rooms_of(&ada, None, 1), ["a owner"]);
        assert_eq!(rooms_of(&ada, Some("a"), 10), ["c member"]);
        assert_eq!(rooms_of(&cy, None, 10), Vec::<String>::new());
        let members = reader.members(RoomNo(1), None, 10).unwrap();
        assert_eq!(members, [(ada.clone(), Role::Owner), (bob.clone(), Role::Reader)]);
        assert_eq!(reader.members(RoomNo(1), Some(&ada), 10).unwrap(), [(bob, Role::Reader)]);
    });
}
