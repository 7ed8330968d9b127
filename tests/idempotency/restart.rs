//! Records on the disk: what a restart, a kill, another process, a full disk do to them.

use std::path::Path;
use std::process::Command;

use super::*;

fn on_disk(origin: &Origin, folder: &Path, more: &str, section: &str) -> String {
    yaml_with(origin, section, "") + &format!("stores: {{ data_dir: {}, {more} }}\n", folder.display())
}

/// A folder that does not exist yet, in one that does.
fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("records");
    (dir, folder)
}

/// The output of a process that is expected not to start.
fn refused(yaml: &str, args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("outboard.yaml");
    std::fs::write(&file, format!("{yaml}\nadmin: {{ address: \"127.0.0.1:0\" }}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    command.arg("run").arg("--config").arg(&file).args(args).env("XDG_RUNTIME_DIR", dir.path());
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn a_finished_request_is_known_after_a_kill() {
    let origin = charges();
    let (_dir, folder) = folder();
    let yaml = on_disk(&origin, &folder, "", "");
    let first = {
        let proxy = Proxy::start(&yaml);
        let first = pay(&proxy, "k");
        proxy.signal(Signal::KILL);
        first
    };
    for _ in 0..2 {
        let proxy = Proxy::start(&yaml);
        let again = pay(&proxy, "k");
        assert!(is_replayed(&again));
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("date"), first.header("date"));
        proxy.await_metric("outboard_idempotency_records{state=\"done\",store=\"local\"}", 1.0);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_request_that_was_sent_when_the_process_died_is_unknown_until_it_is_resolved() {
    let (origin, open) = held();
    let (_dir, folder) = folder();
    let yaml = on_disk(&origin, &folder, "", "");
    {
        let proxy = Proxy::start(&yaml);
        let _client = begin(&proxy, "k");
        eventually("the application has it", || origin.whole() == 1);
        proxy.signal(Signal::KILL);
    }
    open.send(()).unwrap();
    {
        let proxy = Proxy::start(&yaml);
        for _ in 0..2 {
            assert_eq!(pay(&proxy, "k").reason(), "idempotency_unknown");
        }
        let list = proxy.admin_get("/idempotency?state=unknown").json();
        let record = &list["records"][0];
        assert_eq!(record["upstream_sent"], "untold");
        let path = format!("/idempotency/{}/resolve", record["hash"].as_str().unwrap());
        let order = |confirm: &str| format!(r#"{{"as":"not_charged","operator":"Ada"{confirm}}}"#);
        let confirm = proxy.admin_post(&path, &order("")).json()["confirm"].as_str().unwrap().to_owned();
        assert_eq!(proxy.admin_post(&path, &order(&format!(r#","confirm":"{confirm}""#))).status, 200);
        proxy.signal(Signal::KILL);
    }
    // What was said of it holds after the next kill as well.
    let proxy = Proxy::start(&yaml);
    assert_eq!(pay(&proxy, "k").text(), "{\"charge\":2}");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_request_that_was_never_sent_leaves_nothing_behind() {
    let origin = charges();
    let address = origin.address();
    drop(origin);
    let (_dir, folder) = folder();
    let yaml = format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\nupstreams: {{ app: {{ endpoints: [\"{address}\"] }} }}\n\
         routes: [{{ name: pay, retry: off, idempotency: {{ owner: [header:x-merchant-id] }} }}]\n\
         stores: {{ data_dir: {} }}\n",
        folder.display()
    );
    {
        let proxy = Proxy::start(&yaml);
        assert_eq!(pay(&proxy, "k").reason(), "upstream_connect");
        proxy.signal(Signal::KILL);
    }
    let proxy = Proxy::start(&yaml);
    let counts = proxy.admin_get("/idempotency").json();
    let records = &counts["stores"][0]["records"];
    assert_eq!((records["unknown"].as_u64(), records["done"].as_u64()), (Some(0), Some(0)), "{counts}");
    assert_eq!(pay(&proxy, "k").reason(), "upstream_connect");
}

#[test]
fn what_is_under_way_at_the_end_is_waited_for_and_known_to_the_next() {
    let (origin, open) = held();
    let (_dir, folder) = folder();
    let yaml = on_disk(&origin, &folder, "", "") + "drain: { delay: 0s }\n";
    {
        let proxy = Proxy::start(&yaml);
        drop(begin(&proxy, "k"));
        eventually("the application has it", || origin.whole() == 1);
        proxy.signal(Signal::TERM);
        open.send(()).unwrap();
        assert!(proxy.wait(LONG).success());
    }
    let proxy = Proxy::start(&yaml);
    assert!(is_replayed(&pay(&proxy, "k")));
    assert_eq!(origin.count(), 1);
}

#[test]
fn only_one_process_may_have_the_records_and_only_its_user_reads_them() {
    use std::os::unix::fs::PermissionsExt;
    let origin = charges();
    let (_dir, folder) = folder();
    let yaml = on_disk(&origin, &folder, "", "");
    let proxy = Proxy::start(&yaml);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let told = refused(&yaml, &[]);
    assert!(told.contains("stores.data_dir") && told.contains(&folder.display().to_string()), "{told}");
    assert_eq!(pay(&proxy, "k").status, 201);
    drop(proxy);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let told = refused(&yaml, &[]);
    assert!(told.contains("0700") || told.contains("700"), "{told}");
}

#[test]
fn a_process_is_not_taken_over_while_it_has_records_of_its_own() {
    let origin = charges();
    let (dir, folder) = folder();
    for stores in [format!("stores: {{ data_dir: {} }}\n", folder.display()), String::new()] {
        let socket = dir.path().join("upgrade");
        let yaml =
            yaml_with(&origin, "", "") + &stores + &format!("runtime: {{ upgrade_socket: {} }}\n", socket.display());
        let proxy = Proxy::start(&yaml);
        let told = refused(&yaml, &["--upgrade"]);
        assert!(told.contains("refused while a route has idempotency.store: local"), "{told}");
        assert_eq!(pay(&proxy, "k").status, 201);
    }
}

#[test]
fn answers_are_encrypted_and_keys_rotate() {
    let secret = "4000-is-not-to-be-found-on-the-disk";
    let origin = counted(move |conn, _| conn.write(created(secret)));
    let (dir, folder) = folder();
    let key = |name: &str, byte: u8| {
        let file = dir.path().join(name);
        std::fs::write(&file, [byte; 32]).unwrap();
        format!("{{ id: {name}, file: {} }}", file.display())
    };
    let with = |keys: &str| on_disk(&origin, &folder, &format!("encryption_keys: [{keys}]"), "");
    let (old, new) = (key("k1", 1), key("k2", 2));
    {
        let proxy = Proxy::start(&with(&old));
        assert_eq!(pay(&proxy, "secret-idempotency-key").text(), secret);
        assert!(is_replayed(&pay(&proxy, "secret-idempotency-key")));
        assert!(!proxy.raw_output().contains("are kept in clear"));
    }
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        for text in [secret, "secret-idempotency-key", "mer_1", "Bearer one", "amount"] {
            assert!(!bytes.windows(text.len()).any(|w| w == text.as_bytes()), "{text} in {}", file.display());
        }
    }
    {
        let proxy = Proxy::start(&with(&format!("{new}, {old}")));
        assert_eq!(pay(&proxy, "secret-idempotency-key").text(), secret);
        assert_eq!(pay(&proxy, "another").text(), secret);
    }
    // Without the old one its answers cannot be read, and nothing is sent instead.
    let proxy = Proxy::start(&with(&new));
    assert!(is_replayed(&pay(&proxy, "another")));
    let refused = pay(&proxy, "secret-idempotency-key");
    assert_eq!((refused.status, refused.reason()), (503, "idempotency_store"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_key_file_that_holds_none_is_told_at_start() {
    let origin = charges();
    let (dir, folder) = folder();
    let file = dir.path().join("key");
    std::fs::write(&file, "not a key").unwrap();
    let told = refused(
        &on_disk(&origin, &folder, &format!("encryption_keys: [{{ id: k1, file: {} }}]", file.display()), ""),
        &[],
    );
    assert!(told.contains("stores.encryption_keys: k1:") && told.contains("expected a key of 32 bytes"), "{told}");
    assert!(!told.contains("not a key"));
}

#[test]
fn a_database_that_is_damaged_is_told_at_start_and_nothing_is_accepted() {
    let origin = charges();
    let (_dir, folder) = folder();
    let yaml = on_disk(&origin, &folder, "", "") + "drain: { delay: 0s }\n";
    {
        let proxy = Proxy::start(&yaml);
        assert_eq!(pay(&proxy, "k").status, 201);
        proxy.signal(Signal::TERM);
        assert!(proxy.wait(LONG).success());
    }
    let file = folder.join("records.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..16].copy_from_slice(b"not a database!!");
    std::fs::write(&file, bytes).unwrap();
    let told = refused(&yaml, &[]);
    assert!(told.contains("stores.data_dir") && told.contains("records.db"), "{told}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_key_is_forgotten_when_its_time_is_over_and_not_before() {
    let origin = charges();
    let (_dir, folder) = folder();
    let yaml = on_disk(&origin, &folder, "", "ttl: 6s, lease: 1s")
        .replace("name: pay,", "name: pay, timeouts: { connect: 50ms, first_byte: 100ms, total: 200ms },");
    let proxy = Proxy::start(&yaml);
    let begun = std::time::Instant::now();
    assert_eq!(pay(&proxy, "k").text(), "{\"charge\":1}");
    while begun.elapsed() < Duration::from_millis(5_900) {
        let again = pay(&proxy, "k");
        assert!(is_replayed(&again) || begun.elapsed() > Duration::from_millis(5_990), "{:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    eventually("it is forgotten", || pay(&proxy, "k").text() == "{\"charge\":2}");
    // In the background too: nobody has to ask for it.
    proxy.await_metric("outboard_idempotency_records{state=\"done\",store=\"local\"}", 1.0);
    let left = || proxy.metric("outboard_idempotency_records{state=\"done\",store=\"local\"}");
    assert!(within(LONG, || left() == 0.0), "{} are left", left());
}

#[test]
fn where_there_is_no_room_for_a_record_a_new_key_is_refused() {
    let origin = charges();
    let (_dir, folder) = folder();
    let proxy = Proxy::start(&on_disk(&origin, &folder, "max_records: 2", ""));
    assert_eq!((pay(&proxy, "a").status, pay(&proxy, "b").status), (201, 201));
    let refused = pay(&proxy, "c");
    assert_eq!((refused.status, refused.reason()), (503, "idempotency_store"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["detail"], "there are as many keys as there may be");
    assert!(is_replayed(&pay(&proxy, "a")) && is_replayed(&pay(&proxy, "b")));
    assert_eq!(origin.count(), 2);
    proxy.await_metric(&result("store"), 1.0);
}

/// A file system of its own in the memory of the machine. Dropped, it goes.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// None where this user may mount nothing.
    fn of(size: &str) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().unwrap();
        let option = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|out| out.status.success()).then_some(Tmpfs(dir))
    }

    fn grow(&self, size: &str) {
        let option = format!("remount,size={size}");
        let done = Command::new("mount").args(["-o", &option]).arg(self.0.path()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_new_keys_loses_no_finished_one_and_is_gone_on_with_once_there_is_room() {
    let Some(disk) = Tmpfs::of("48m") else {
        eprintln!("not tested: this user may not mount a file system");
        return;
    };
    // Answers that cannot be packed: the disk is to be full soon.
    let origin = counted(|conn, number| {
        let body: String = (0..250_000u64).map(|n| char::from(b'a' + ((n * n * number as u64) % 26) as u8)).collect();
        conn.write(created(&body))
    });
    let proxy = Proxy::start(&on_disk(&origin, &disk.0.path().join("records"), "", ""));
    let mut answered = Vec::new();
    let refused = loop {
        let key = format!("k{}", answered.len());
        let answer = pay(&proxy, &key);
        match answer.status {
            201 => answered.push((key, answer)),
            _ => break answer,
        }
        assert!(answered.len() < 400, "the disk is never full");
    };
    assert_eq!((refused.status, refused.reason()), (503, "idempotency_store"));
    assert!(answered.len() > 20, "{}", answered.len());
    proxy.eventually("it says that it is not ready", || {
        proxy.admin_get("/readyz").status == 503 || pay(&proxy, "another").status != 503
    });
    let charged = origin.count();
    for (key, first) in &answered {
        let again = pay(&proxy, key);
        let same = is_replayed(&again) && again.body == first.body;
        // The last one may have been answered when its record could not be written any more.
        assert!(same || again.reason() == "idempotency_unknown" || again.status == 503, "{key}: {again:?}");
    }
    assert_eq!(origin.count(), charged, "nothing was sent again");
    disk.grow("256m");
    eventually("it goes on", || pay(&proxy, "new").status == 201);
    eventually("it is ready", || proxy.admin_get("/readyz").status == 200);
    let mut unknown = 0;
    for (key, first) in &answered {
        // What could not be written of the last one is written in a moment, or given up.
        let mut again = None;
        eventually("what waits is written", || {
            let answer = again.insert(pay(&proxy, key));
            answer.reason() != "idempotency_store"
        });
        let again = again.expect("an answer");
        match again.reason() {
            "" => assert!(is_replayed(&again) && again.body == first.body, "{key}"),
            reason => {
                assert_eq!(reason, "idempotency_unknown");
                unknown += 1;
            }
        }
    }
    assert!(unknown <= 1, "{unknown}");
}
