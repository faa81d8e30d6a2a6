//! What only a file can do: be locked, damaged, copied, of another version, or in use.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

use rusqlite::Connection;
use tertulia_protocol::{Cid, Epoch, RoomId, RoomKind};
use tertulia_store::{
    Changes, Directory, Durability, Error, Found, Head, Key, KeyError, Keys, NewEvent, OpenError,
    Range, Remembered, Room, RoomNo, Store, backup,
};

fn room() -> Room {
    Room {
        no: RoomNo(1),
        id: RoomId::parse("garden").unwrap(),
        epoch: Epoch::parse("e7").unwrap(),
        head: Head { seq: 1, n: 1, first: 1, ts: 1 },
        kind: RoomKind::Public,
        name: None,
        d: None,
        by: None,
        members: 0,
        owners: 0,
    }
}

fn store_with_a_room(dir: &std::path::Path, durability: Durability) -> Store {
    let (store, _) = Store::open(dir, durability).unwrap();
    let line = NewEvent { room: RoomNo(1), seq: 1, ts: 1, by: None, kind: "msg", bytes: b"hello" };
    let room = room();
    let changes = Changes { rooms: vec![&room], events: vec![line], ..Changes::default() };
    store.writer().unwrap().commit(&changes).unwrap();
    store
}

fn epoch(store: &Store) -> String {
    store.reader().unwrap().room(&room().id).unwrap().unwrap().epoch.as_str().to_owned()
}

#[test]
fn a_locked_database_is_busy_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Fsync);
    let mut writer = store.writer().unwrap();
    let other = Connection::open(dir.path().join("tertulia.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let heads = vec![(RoomNo(1), Head { seq: 2, n: 2, first: 1, ts: 2 })];
    let changes = Changes { heads, ..Changes::default() };
    assert!(matches!(writer.commit(&changes), Err(Error::Busy)));
    assert_eq!(store.reader().unwrap().room(&room().id).unwrap().unwrap().head.seq, 1);
    other.execute_batch("ROLLBACK").unwrap();
    writer.commit(&changes).unwrap();
    assert_eq!(store.reader().unwrap().room(&room().id).unwrap().unwrap().head.seq, 2);
}

#[test]
fn a_damaged_cid_is_above_all_and_hides_none_of_its_sender() {
    for damage in ["CAST(X'ff' AS TEXT)", "X'ff00'", "'no cid'"] {
        let dir = tempfile::tempdir().unwrap();
        let store = store_with_a_room(dir.path(), Durability::Fsync);
        let mut writer = store.writer().unwrap();
        let said = Remembered { seq: 1, n: None, ts: 1, hash: 1 };
        let [first, second] = ["c1", "c2"].map(|cid| Cid::parse(cid).unwrap());
        let remembered = [first, second].map(|cid| (RoomNo(1), &None, cid, said)).to_vec();
        writer.commit(&Changes { remembered, ..Changes::default() }).unwrap();
        let other = Connection::open(dir.path().join("tertulia.db")).unwrap();
        other.execute(&format!("UPDATE dedupe SET cid = {damage} WHERE cid = 'c2'"), []).unwrap();
        let highest = writer.highest_cid(RoomNo(1), &None).unwrap();
        assert_eq!(highest, Some(Cid::LAST), "{damage}");
        assert_eq!(writer.remembered(RoomNo(1), &None, &first).unwrap(), Some(said));
    }
}

#[test]
fn bad_input_09_a_database_that_was_moved_away_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Fsync);
    let mut writer = store.writer().unwrap();
    let (place, elsewhere) = (dir.path().join("tertulia.db"), dir.path().join("elsewhere.db"));
    std::fs::rename(&place, &elsewhere).unwrap();
    assert!(matches!(writer.commit(&Changes::default()), Err(Error::ReadOnly)));
    assert!(matches!(writer.probe(), Err(Error::ReadOnly)));
    std::fs::rename(&elsewhere, &place).unwrap();
    writer.commit(&Changes::default()).unwrap();
}

#[test]
fn a_flipped_bit_is_noticed_and_not_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Fsync);
    let other = Connection::open(dir.path().join("tertulia.db")).unwrap();
    other.execute("UPDATE events SET bytes = CAST('hellp' AS BLOB)", []).unwrap();
    let range = Range { room: RoomNo(1), after: 0, upto: 1, limit: 10, bytes_max: 1000 };
    assert!(matches!(store.reader().unwrap().log(range), Err(Error::Damaged(_))));
}

#[test]
fn a_missing_row_is_noticed_and_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Fsync);
    let line = |seq| NewEvent { room: RoomNo(1), seq, ts: 1, by: None, kind: "msg", bytes: b"x" };
    let changes = Changes { events: vec![line(2), line(3)], ..Changes::default() };
    store.writer().unwrap().commit(&changes).unwrap();
    let other = Connection::open(dir.path().join("tertulia.db")).unwrap();
    other.execute("DELETE FROM events WHERE id & 0xff = 2", []).unwrap();
    let range = Range { room: RoomNo(1), after: 0, upto: 3, limit: 10, bytes_max: 1000 };
    assert!(matches!(store.reader().unwrap().log(range), Err(Error::Damaged(_))));
}

#[test]
fn a_killed_process_keeps_the_epoch_when_every_commit_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    drop(store_with_a_room(dir.path(), Durability::Fsync));
    let (store, found) = Store::open(dir.path(), Durability::Fsync).unwrap();
    assert_eq!(found, Found { fresh: false, new_epochs: None });
    assert_eq!(epoch(&store), "e7");
}

#[test]
fn an_unclean_end_without_syncs_gives_new_epochs() {
    let dir = tempfile::tempdir().unwrap();
    drop(store_with_a_room(dir.path(), Durability::Os));
    let (store, found) = Store::open(dir.path(), Durability::Os).unwrap();
    assert!(found.new_epochs.is_some());
    let renewed = epoch(&store);
    assert_ne!(renewed, "e7");
    store.close().unwrap();
    let (store, found) = Store::open(dir.path(), Durability::Os).unwrap();
    assert_eq!(found.new_epochs, None, "the last life ended in order");
    assert_eq!(epoch(&store), renewed);
}

#[test]
fn a_copy_in_its_place_gives_new_epochs() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    let mut seen = 0;
    store_with_a_room(dir.path(), Durability::Fsync);
    backup(dir.path(), &copy, |done, _| seen = done).unwrap();
    assert!(seen > 0);
    assert!(matches!(backup(dir.path(), &copy, |_, _| {}), Err(OpenError::File { .. })));
    for file in ["tertulia.db", "tertulia.db-wal", "tertulia.db-shm"] {
        _ = std::fs::remove_file(dir.path().join(file));
    }
    std::fs::rename(&copy, dir.path().join("tertulia.db")).unwrap();
    let (store, found) = Store::open(dir.path(), Durability::Fsync).unwrap();
    assert!(found.new_epochs.is_some());
    assert_ne!(epoch(&store), "e7");
    let range = Range { room: RoomNo(1), after: 0, upto: 1, limit: 10, bytes_max: 1000 };
    assert_eq!(store.reader().unwrap().log(range).unwrap()[0].bytes, b"hello");
}

/// What a machine leaves behind when its power fails: the files as they are, copied without a close.
fn after_a_power_cut(durability: Durability, flip: Option<usize>) -> tempfile::TempDir {
    let (alive, dead) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store_with_a_room(alive.path(), durability);
    let mut writer = store.writer().unwrap();
    for seq in 2..5 {
        let line = NewEvent { room: RoomNo(1), seq, ts: 1, by: None, kind: "msg", bytes: b"hello" };
        let heads = vec![(RoomNo(1), Head { seq, n: seq, first: 1, ts: 1 })];
        writer.commit(&Changes { events: vec![line], heads, ..Changes::default() }).unwrap();
    }
    for file in ["tertulia.db", "tertulia.db-wal"] {
        let mut bytes = std::fs::read(alive.path().join(file)).unwrap();
        if let Some(from_end) = flip.filter(|_| file.ends_with("wal")) {
            let at = bytes.len() - from_end;
            bytes[at] ^= 1;
        }
        std::fs::write(dead.path().join(file), bytes).unwrap();
    }
    dead
}

#[test]
fn a_torn_end_is_forgotten_and_damage_in_the_middle_is_not() {
    let torn = after_a_power_cut(Durability::Fsync, Some(100));
    let (store, _) = Store::open(torn.path(), Durability::Fsync).unwrap();
    assert_eq!(store.reader().unwrap().room(&room().id).unwrap().unwrap().head.seq, 3);

    let damaged = after_a_power_cut(Durability::Fsync, Some(13_000));
    let wal = || std::fs::read(damaged.path().join("tertulia.db-wal")).unwrap();
    let before = wal();
    let refused = Store::open(damaged.path(), Durability::Fsync);
    assert!(matches!(refused, Err(OpenError::Damaged { .. })));
    assert!(before == wal(), "a refusal changes nothing");
    let (_, found) = Store::open_accepting_loss(damaged.path(), Durability::Fsync).unwrap();
    assert!(found.new_epochs.is_some());
}

#[test]
fn bad_input_11_a_cut_database_is_refused_unless_its_log_has_what_is_gone() {
    // Whoever stays keeps the log from being moved, from the first transaction on: it has every page.
    let alive = tempfile::tempdir().unwrap();
    let stays = Connection::open(alive.path().join("tertulia.db")).unwrap();
    stays.pragma_update(None, "journal_mode", "WAL").unwrap();
    stays.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).unwrap();
    drop(store_with_a_room(alive.path(), Durability::Fsync));
    let log = std::fs::read(alive.path().join("tertulia.db-wal")).unwrap();
    let whole = std::fs::read(alive.path().join("tertulia.db")).unwrap();
    assert_eq!(whole.len(), 4096);
    let dead = tempfile::tempdir().unwrap();
    let file = dead.path().join("tertulia.db");
    let put = |bytes: &[u8], log: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        std::fs::write(dead.path().join("tertulia.db-wal"), log).unwrap();
        _ = std::fs::remove_file(dead.path().join("tertulia.db-shm"));
    };
    for bytes in [2, 99, 511, whole.len() - 1, whole.len()] {
        put(&whole[..bytes], &log);
        let (store, _) = Store::open(dead.path(), Durability::Fsync).unwrap();
        let head = store.reader().unwrap().room(&room().id).unwrap().unwrap().head;
        assert_eq!(head.seq, 1, "{bytes} bytes");
    }
    // SQLite throws away the log beside a file that it takes for empty.
    for bytes in [0, 1] {
        put(&whole[..bytes], &log);
        refuses_as_cut(dead.path());
    }
    for bytes in [1, 2, 99, 100, 511, 4095] {
        put(&whole[..bytes], &[]);
        refuses_as_cut(dead.path());
    }
}

#[test]
fn bad_input_11_a_database_without_its_last_byte_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Fsync);
    fill_the_log(&store, 1 << 20);
    store.close().unwrap();
    drop(store);
    let file = dir.path().join("tertulia.db");
    let db = Connection::open(&file).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    let whole = std::fs::read(&file).unwrap();
    for bytes in [whole.len() - 1, whole.len() - 4096, whole.len() / 2, 4096, 100, 7, 1] {
        std::fs::write(&file, &whole[..bytes]).unwrap();
        refuses_as_cut(dir.path());
    }
    std::fs::write(&file, &whole).unwrap();
    Store::open(dir.path(), Durability::Fsync).unwrap();
}

/// Neither a start nor a key on the command line goes on with it, whatever loss is accepted, nor touches it.
#[track_caller]
fn refuses_as_cut(dir: &std::path::Path) {
    let files =
        || ["tertulia.db", "tertulia.db-wal"].map(|file| std::fs::read(dir.join(file)).ok());
    let before = files();
    let refused = [
        Store::open(dir, Durability::Fsync).err(),
        Store::open_accepting_loss(dir, Durability::Fsync).err(),
        Keys::open(dir).err(),
    ];
    for refused in refused {
        let Some(OpenError::Cut { path, bytes, whole_bytes, pages }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(path, dir.join("tertulia.db"));
        assert_eq!(Some(bytes), before[0].as_ref().map(|file| file.len() as u64));
        assert!(whole_bytes.is_none_or(|whole| whole > bytes) && pages != Some(0));
    }
    assert!(before == files(), "a refusal changes nothing");
}

#[test]
fn bad_input_10_a_second_process_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let taken = Directory::take(dir.path()).unwrap();
    let Err(OpenError::InUse { pid, .. }) = Directory::take(dir.path()) else {
        panic!("it is in use")
    };
    assert_eq!(pid, std::process::id().to_string());
    drop(taken);
    Directory::take(dir.path()).unwrap();
}

#[test]
fn bad_input_11_a_newer_schema_and_a_foreign_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), Durability::Fsync).unwrap());
    let db = Connection::open(dir.path().join("tertulia.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    assert!(matches!(
        Store::open(dir.path(), Durability::Fsync),
        Err(OpenError::Newer { found: 99, .. })
    ));

    let dir = tempfile::tempdir().unwrap();
    let db = Connection::open(dir.path().join("tertulia.db")).unwrap();
    db.execute_batch("CREATE TABLE recipes (name)").unwrap();
    drop(db);
    assert!(matches!(Store::open(dir.path(), Durability::Fsync), Err(OpenError::Foreign { .. })));
    std::fs::write(dir.path().join("tertulia.db"), b"no database at all, but long enough").unwrap();
    assert!(matches!(Store::open(dir.path(), Durability::Fsync), Err(OpenError::Foreign { .. })));
}

#[test]
fn a_key_is_seen_by_those_who_look_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Keys::open(dir.path()).unwrap();
    assert_eq!(server.list_if_changed().unwrap(), Some(vec![]));
    assert_eq!(server.list_if_changed().unwrap(), None);
    let command_line = Keys::open(dir.path()).unwrap();
    let key = Key { name: "ops".into(), hash: [7; 32], scope: "admin".into(), created: 5 };
    command_line.add(&key).unwrap();
    assert!(matches!(command_line.add(&key), Err(KeyError::Taken(_))));
    assert_eq!(server.list_if_changed().unwrap(), Some(vec![key]));
    command_line.revoke("ops").unwrap();
    assert!(matches!(command_line.revoke("ops"), Err(KeyError::Unknown(_))));
    assert_eq!(server.list_if_changed().unwrap(), Some(vec![]));
}

#[test]
fn the_log_is_checkpointed_beside_the_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Os);
    let mut writer = store.writer().unwrap();
    let mut checkpointer = store.checkpointer().unwrap().unwrap();
    assert!(!checkpointer.run().unwrap(), "not worth it yet");
    let body = vec![b'x'; 16_000];
    let mut seq = 2;
    let mut highest = 0;
    for _ in 0..100 {
        let lines = (0..20).map(|i| NewEvent {
            room: RoomNo(1),
            seq: seq + i,
            ts: 1,
            by: None,
            kind: "msg",
            bytes: &body,
        });
        writer.commit(&Changes { events: lines.collect(), ..Changes::default() }).unwrap();
        seq += 20;
        highest = highest.max(checkpointer.wal_bytes());
        checkpointer.run().unwrap();
    }
    assert!(highest < 12 << 20, "the log grew to {highest} bytes");
}

/// Messages of 16 KB until the log has so many bytes; how many there are in the room then.
fn fill_the_log(store: &Store, bytes: u64) {
    let mut writer = store.writer().unwrap();
    let body = vec![b'x'; 16_000];
    let mut seq = 2;
    while store.wal_bytes() < bytes {
        let line =
            |seq| NewEvent { room: RoomNo(1), seq, ts: 1, by: None, kind: "msg", bytes: &body };
        let events = (seq..seq + 100).map(line).collect();
        writer.commit(&Changes { events, ..Changes::default() }).unwrap();
        seq += 100;
    }
}

#[test]
fn a_check_lets_go_before_commits_have_to_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Os);
    assert_eq!(store.check().unwrap(), Some(vec![]));
    // Someone looks at an old state, so the log cannot start over and grows past what it should have.
    let reader = Connection::open(dir.path().join("tertulia.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM facts").unwrap();
    fill_the_log(&store, 65 << 20);
    assert_eq!(store.check().unwrap(), None, "it would hold on to a state of its own for long");
    // With nobody else there, nobody is: the next commit starts the log over.
    reader.execute_batch("ROLLBACK").unwrap();
    let heads = vec![(RoomNo(1), Head { seq: 1, n: 1, first: 1, ts: 1 })];
    store.writer().unwrap().commit(&Changes { heads, ..Changes::default() }).unwrap();
    assert!(store.wal_bytes() < 1 << 20, "the log has {} bytes", store.wal_bytes());
    assert_eq!(store.check().unwrap(), Some(vec![]));
}

#[test]
fn a_check_tells_of_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Os);
    fill_the_log(&store, 1 << 20);
    let db = Connection::open(dir.path().join("tertulia.db")).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let path = dir.path().join("tertulia.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[300_000..400_000].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let found = store.check();
    assert!(matches!(&found, Ok(Some(found)) if !found.is_empty()), "{found:?}");
}

#[test]
fn a_damaged_page_hides_no_room_that_is_not_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Os);
    let named = |no: u64| Room {
        no: RoomNo(no),
        id: RoomId::parse(&format!("r{no}")).unwrap(),
        name: Some(format!("the room with the number {no}").into()),
        ..room()
    };
    let rooms: Vec<Room> = (2..500).map(named).collect();
    let changes = Changes { rooms: rooms.iter().collect(), ..Changes::default() };
    store.writer().unwrap().commit(&changes).unwrap();
    let path = dir.path().join("tertulia.db");
    let db = Connection::open(&path).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    // The page with the oldest rooms, which stand in for what is not there.
    let mut bytes = std::fs::read(&path).unwrap();
    let words = b"the room with the number 2";
    let place = bytes
        .windows(words.len() + 1)
        .rposition(|window| window.starts_with(words) && !window[words.len()].is_ascii_digit());
    let page = place.expect("it is stored") / 4096 * 4096;
    bytes[page] = 0xff;
    std::fs::write(&path, bytes).unwrap();
    let mut reader = store.reader().unwrap();
    assert!(reader.room(&named(2).id).is_err());
    assert_eq!(reader.room(&named(400).id).unwrap().map(|room| room.no), Some(RoomNo(400)));
    assert_eq!(reader.room(&RoomId::parse("nowhere").unwrap()).unwrap(), None);
}

#[test]
fn a_look_that_was_not_ended_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Fsync);
    let mut writer = store.writer().unwrap();
    writer.hold().unwrap();
    writer.hold().unwrap();
    writer.probe().unwrap();
    let other = Connection::open(dir.path().join("tertulia.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
    writer.release().unwrap();
    writer.release().unwrap();
}

#[test]
fn a_probe_writes_each_time_it_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_room(dir.path(), Durability::Fsync);
    let mut writer = store.writer().unwrap();
    writer.probe().unwrap();
    for _ in 0..3 {
        let before = store.wal_bytes();
        writer.probe().unwrap();
        assert!(store.wal_bytes() > before, "what writes nothing tells nothing about the disk");
    }
}
