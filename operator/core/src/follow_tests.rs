use super::*;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that Kubernetes could have mounted: `file` -> `..data/file`, `..data` -> `..<version>`.
struct Mount(PathBuf);

static MOUNTS: AtomicU32 = AtomicU32::new(0);

impl Mount {
    fn new(content: &str) -> Self {
        let number = MOUNTS.fetch_add(1, Ordering::Relaxed);
        let mount = Self(std::env::temp_dir().join(format!("sallyport-follow-{}-{number}", std::process::id())));
        std::fs::create_dir_all(&mount.0).unwrap();
        mount.swap("..1", content);
        symlink("..data/file", mount.file()).unwrap();
        mount
    }

    fn file(&self) -> PathBuf {
        self.0.join("file")
    }

    fn swap(&self, version: &str, content: &str) {
        let directory = self.0.join(version);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("file"), content).unwrap();
        let fresh = self.0.join("..data_tmp");
        symlink(version, &fresh).unwrap();
        std::fs::rename(fresh, self.0.join("..data")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn number(contents: &[Vec<u8>]) -> Result<u32, std::num::ParseIntError> {
    String::from_utf8_lossy(&contents[0]).trim().parse()
}

async fn until(mut fits: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !fits() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("in time");
}

#[tokio::test]
async fn a_swapped_mount_is_followed_and_a_broken_one_keeps_the_old_value_and_shows() {
    let mount = Mount::new("1");
    let followed = Followed::start(vec![mount.file()], number).unwrap();
    assert_eq!((*followed.get(), followed.problem()), (1, None));
    mount.swap("..2", "2");
    until(|| *followed.get() == 2).await;
    mount.swap("..3", "three");
    until(|| followed.problem().is_some()).await;
    assert_eq!(*followed.get(), 2);
    assert!(followed.problem().unwrap().contains("invalid digit"));
    mount.swap("..4", "4");
    until(|| *followed.get() == 4).await;
    assert_eq!(followed.problem(), None);
    std::fs::remove_file(mount.file()).unwrap();
    until(|| followed.problem().is_some()).await;
    assert_eq!(*followed.get(), 4);
}

#[tokio::test]
async fn a_file_that_is_missing_at_first_gives_the_fallback_until_it_is_there() {
    let mount = Mount::new("7");
    let absent = mount.0.join("absent");
    assert!(matches!(
        Followed::start(vec![absent.clone()], number),
        Err(FollowError::Read { .. })
    ));
    let followed = Followed::start_or(0, vec![absent.clone()], number);
    assert_eq!(*followed.get(), 0);
    assert!(followed.problem().unwrap().contains("is it mounted?"));
    symlink("file", absent).unwrap();
    until(|| *followed.get() == 7).await;
    assert_eq!(followed.problem(), None);
}
