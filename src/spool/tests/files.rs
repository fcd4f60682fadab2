//! Directories, permissions, locks, large bodies.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_second_instance_is_refused_until_the_first_is_gone() {
    let rig = Rig::new();
    let spool = rig.open();
    let refused = rig.try_open().unwrap_err();
    assert!(matches!(&refused, SpoolError::Unusable(words) if words.contains("LOCK")), "{refused}");
    spool.shutdown().await;
    rig.open();
}

#[tokio::test]
async fn files_and_directories_are_ours_alone() {
    let rig = Rig::new();
    std::fs::create_dir(rig.path()).unwrap();
    std::fs::set_permissions(rig.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let spool = rig.open();
    let mut writer = spool.body_writer().unwrap();
    writer.write(&Bytes::from_static(b"x")).unwrap();
    let kept = writer.finish().await.unwrap();
    assert_eq!((mode(rig.path()), mode(&rig.path().join("quarantine"))), (0o700, 0o700));
    for name in rig.names().iter().filter(|name| *name != "quarantine") {
        assert_eq!(mode(&rig.path().join(name)), 0o600, "{name}");
    }
    drop(kept);
}

#[test]
fn links_are_not_followed() {
    let rig = Rig::new();
    let elsewhere = rig.directory.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, rig.path()).unwrap();
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&rig.clock);
    let refused = Spool::open(rig.settings.clone(), clock, Box::new(Discard)).unwrap_err();
    assert!(matches!(refused, SpoolError::Unusable(_)));
    assert!(names(&elsewhere).is_empty());
    let rig = Rig::new();
    std::fs::create_dir(rig.path()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, rig.path().join("quarantine")).unwrap();
    assert!(matches!(rig.try_open(), Err(SpoolError::Unusable(_))));
    std::fs::remove_file(rig.path().join("quarantine")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("x"), rig.path().join("seg-0000000000000001.log")).unwrap();
    let (_spool, found) = rig.recover();
    assert_eq!(found.quarantined[0].reason, "not a regular file");
    assert!(names(&elsewhere).is_empty());
}

#[test]
fn foreign_files_are_left_alone_and_empty_ones_put_aside() {
    let rig = Rig::new();
    std::fs::create_dir(rig.path()).unwrap();
    let foreign = ["notes.txt", "seg-1.log", "seg-000000000000000G.log", "body-xyz.msg", "line\nbreak"];
    for name in foreign {
        std::fs::write(rig.path().join(name), b"").unwrap();
    }
    std::fs::write(rig.path().join("seg-0000000000000005.log"), b"").unwrap();
    std::fs::write(rig.path().join("seg-0000000000000006.log"), vec![b'x'; 1000]).unwrap();
    let (_spool, found) = rig.recover();
    let reasons: Vec<&str> = found.quarantined.iter().map(|q| q.reason.as_str()).collect();
    assert_eq!(reasons, ["shorter than a segment header", "no sound segment header"]);
    assert!(foreign.iter().all(|name| rig.path().join(name).exists()));
    assert_eq!(names(&rig.path().join("quarantine")).len(), 4);
    assert!(rig.path().join("seg-0000000000000007.log").exists());
}

async fn large_body(spool: &Spool, octets: usize) -> (Body, Bytes) {
    let content = Bytes::from((0..octets).map(|n| b'a' + u8::try_from(n % 23).unwrap()).collect::<Vec<u8>>());
    let mut writer = spool.body_writer().unwrap();
    for part in content.chunks(1000) {
        writer.write(&Bytes::copy_from_slice(part)).unwrap();
    }
    (writer.finish().await.unwrap(), content)
}

fn bodies(rig: &Rig) -> usize {
    rig.names().iter().filter(|name| name.starts_with("body-")).count()
}

#[tokio::test]
async fn a_large_body_lives_as_long_as_its_last_copy() {
    let rig = Rig::new();
    let spool = rig.open();
    let (body, content) = large_body(&spool, 700_000).await;
    spool.commit(batch_with(body, &[1, 2], 1)).await.unwrap();
    let rig = rig.crashed();
    let (spool, found) = rig.recover();
    assert_eq!((found.copies, found.orphans, bodies(&rig)), (2, 0, 1));
    let mut leases = lease_all(&spool).await;
    assert!(matches!(leases[0].entry().body, Body::File(_)));
    assert_eq!(memory(&leases[0].entry().body), content);
    let (second, first) = (leases.pop().unwrap(), leases.pop().unwrap());
    let how = delivered(&first);
    first.settle(how).await.unwrap();
    spool.probe().await.unwrap();
    assert_eq!(bodies(&rig), 1);
    let how = delivered(&second);
    second.settle(how).await.unwrap();
    spool.shutdown().await;
    assert_eq!(bodies(&rig), 0);
}

#[tokio::test]
async fn body_files_that_nobody_needs_are_removed() {
    let rig = Rig::new();
    let spool = rig.open();
    let mut unfinished = spool.body_writer().unwrap();
    unfinished.write(&Bytes::from_static(b"x")).unwrap();
    assert_eq!(bodies(&rig), 1);
    drop(unfinished);
    assert_eq!(bodies(&rig), 0);
    let (uncommitted, _) = large_body(&spool, 1000).await;
    let (_, found) = { rig.crashed() }.recover();
    assert_eq!(found.orphans, 1);
    drop(uncommitted);
    assert_eq!(spool.handle.shared.bodies.abandoned().len(), 1);
}

#[tokio::test]
async fn a_body_file_of_somebody_else_is_refused() {
    let rig = Rig::new();
    let spool = rig.open();
    let path = rig.directory.path().join("secret");
    std::fs::write(&path, b"secret").unwrap();
    let body = Body::File(Arc::new(BodyFile { path, len: 6 }));
    assert!(matches!(spool.commit(batch_with(body, &[1], 1)).await, Err(SpoolError::Unfit(_))));
}

#[tokio::test]
async fn a_missing_or_damaged_body_file_sets_its_mail_aside_and_the_rest_flows() {
    for damage in ["missing", "short", "flipped"] {
        let rig = Rig::new();
        let spool = rig.open();
        let (body, content) = large_body(&spool, 5000).await;
        let Body::File(file) = &body else { panic!("not a file") };
        let name = file.path.file_name().unwrap().to_owned();
        spool.commit(batch_with(body, &[1], 1)).await.unwrap();
        spool.commit(batch(2)).await.unwrap();
        let rig = rig.crashed();
        let path = rig.path().join(name);
        let mut other = content.to_vec();
        other[3000] ^= 1;
        match damage {
            "missing" => std::fs::remove_file(path).unwrap(),
            "short" => std::fs::write(path, &content[..4999]).unwrap(),
            _ => std::fs::write(path, other).unwrap(),
        }
        let (spool, found) = rig.recover();
        assert_eq!(found.quarantined.len(), usize::from(damage != "flipped"), "{damage}");
        assert_eq!(ids(&lease_all(&spool).await), [2], "{damage}");
        assert_eq!(spool.stats().damaged, 1, "{damage}");
    }
}
