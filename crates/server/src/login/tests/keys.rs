//! Keys of applications, and the secrets of a first start.

use std::os::unix::fs::PermissionsExt;

use super::*;

impl House {
    fn keys(&self) -> Keys {
        Keys::open(self.dir.path()).expect("the stored keys")
    }

    fn read(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "its owner alone reads {name}");
        std::fs::read_to_string(path).expect("a text").trim_end().to_owned()
    }
}

#[test]
fn a_first_start_makes_a_secret_and_an_admin_key_and_a_second_one_keeps_them() {
    let house = House::new("");
    let path = house.dir.path().join("admin.key");
    assert_eq!(house.opened.admin_key.as_deref(), Some(path.as_path()));
    let (secret, admin) = (house.read("secret"), house.read("admin.key"));
    assert_eq!(URL_SAFE_NO_PAD.decode(&secret).map(|bytes| bytes.len()), Ok(32));
    let first = ApiKey { name: "first-start".into(), scope: KeyScope::Admin };
    assert_eq!(house.login().key(&admin), Some(first.clone()));

    let again = House::in_folder(house.dir, "");
    assert_eq!(again.opened.admin_key, None);
    assert_eq!((again.read("secret"), again.read("admin.key")), (secret, admin.clone()));
    assert_eq!(again.login().key(&admin), Some(first));
}

#[test]
fn a_first_start_that_did_not_end_is_finished_by_the_next_one() {
    let house = House::new("");
    let admin = house.read("admin.key");
    let (path, begun) =
        ["admin.key", "admin.key.new"].map(|name| house.dir.path().join(name)).into();
    // The key is kept, and the file has not got its name.
    std::fs::rename(&path, &begun).unwrap();
    let again = House::in_folder(house.dir, "");
    assert_eq!(again.opened.admin_key, Some(path.clone()));
    assert_eq!(again.read("admin.key"), admin);
    assert!(!begun.exists());
    // The file is there, and the key is not kept yet.
    again.keys().revoke("first-start").unwrap();
    std::fs::rename(&path, &begun).unwrap();
    let again = House::in_folder(again.dir, "");
    assert_eq!(again.opened.admin_key, Some(path));
    assert!(again.login().key(&admin).is_some());
}

#[test]
fn a_revoked_first_key_does_not_come_back() {
    let house = House::new("");
    let admin = house.read("admin.key");
    house.keys().revoke("first-start").unwrap();
    let again = House::in_folder(house.dir, "");
    assert_eq!(again.login().key(&admin), None);
    assert_eq!(again.opened.admin_key, None);
}

#[test]
fn who_has_keys_already_gets_no_admin_key() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    let key = create(&keys, "ci", KeyScope::Read, 0).unwrap();
    let house = House::in_folder(dir, "");
    assert_eq!(house.opened.admin_key, None);
    assert_eq!(house.login().key(&key).map(|key| key.scope), Some(KeyScope::Read));
}

#[test]
fn a_new_key_is_seen_at_the_next_look_and_a_revoked_one_no_more() {
    let mut house = House::new("");
    let keys = house.keys();
    let key = create(&keys, "ci", KeyScope::Send, 0).unwrap();
    assert_eq!(house.login().key(&key), None);
    assert!(house.opened.watch.look());
    let found = house.login().key(&key).expect("the new key");
    assert_eq!((&*found.name, found.scope), ("ci", KeyScope::Send));

    keys.revoke("ci").unwrap();
    assert!(house.opened.watch.look());
    assert_eq!(house.login().key(&key), None);
}

#[test]
fn the_watch_ends_with_the_login() {
    let House { opened: Opened { login, mut watch, .. }, dir: _dir } = House::new("");
    assert!(watch.look());
    drop(login);
    assert!(!watch.look());
}

#[test]
fn what_is_stored_is_not_the_key() {
    let house = House::new("");
    let admin = house.read("admin.key");
    assert!(admin.starts_with("tk_") && admin.len() == 46, "tk_ and 32 bytes: {admin}");
    let stored = house.keys().list().unwrap();
    assert_ne!(stored[0].hash.as_slice(), admin.as_bytes());
    for near in [&admin[..45], &format!("{admin}A"), &admin.replacen("tk_", "tk-", 1), ""] {
        assert_eq!(house.login().key(near), None, "{near}");
    }
}

#[test]
fn keys_are_not_tokens_and_tokens_are_not_keys() {
    let house = House::new("");
    house.refuses(&house.read("admin.key"), Close::TokenInvalid);
    assert_eq!(house.login().key(&house.own().token(&claims("ada"))), None);
}

#[test]
fn a_secret_file_that_is_too_short_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "short\n").unwrap();
    let Err(error) = Login::open(&config(&dir, ""), [], 0) else { panic!("it was taken") };
    let path = dir.path().join("secret");
    let expected = format!("{} has 5 bytes, a secret has 32 or more; ", path.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_secret_of_the_settings_signs_instead_of_the_one_in_the_directory() {
    let secret = "a-secret-of-more-than-32-bytes-0123";
    let house = House::new(&format!("hs256_secret = \"{secret}\""));
    house.knows(&Issuer::shared(secret).token(&claims("ada")), "ada");
    assert!(!house.dir.path().join("secret").exists(), "no other one is made");
}
