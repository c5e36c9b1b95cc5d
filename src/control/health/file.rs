//! Files as health checks: a number in them, or their existence.

use super::tasks::BlockingTasks;
use crate::health::{CheckKey, LocalError, ProbeFailure, ProbeOutcome, WeightChange};
use crate::model::{FileCheck, GoodFile};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use tokio::time::Instant;

/// Part of the file that is read: enough for any number, in bytes.
const READ_MAX: u64 = 64;

const MISSING: LocalError =
    LocalError::Setup("there is no such file, so nothing is known: write 0 or another number into it");
const NO_NUMBER: LocalError =
    LocalError::Setup("the file has no number: write 0 into it, or another number if the server is down");
const UNREADABLE: LocalError =
    LocalError::Setup("the file cannot be read: let the director's user read it and enter its directory");

/// Reads the file of `check`, on a blocking thread as its file system may be slow, and judges it. Returns what its
/// number does to the weight.
///
/// # Errors
/// The outcome of the probe.
pub(super) async fn run(
    check: &FileCheck,
    key: &CheckKey,
    tasks: &BlockingTasks,
    deadline: Instant,
) -> Result<Option<WeightChange>, ProbeOutcome> {
    let path = check.path.replace(FileCheck::RIP, &key.server.to_string());
    let (good, weight) = (check.good, check.weight);
    let work = move || {
        let found = match good {
            GoodFile::Zero => read(&path).map(Some),
            GoodFile::Present | GoodFile::Absent => std::fs::metadata(&path).map(|_| None),
        };
        match (weight, found) {
            (Some(factor), Ok(text)) => weigh(factor, &text.unwrap_or_default()),
            (_, found) => judge(good, found, &path).map(|()| None),
        }
    };
    tasks.run(key, deadline, work).await.map_err(ProbeOutcome::Unknown)?
}

fn read(path: &str) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(READ_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The effect of the number of a file on the weight, so many times.
fn weigh(factor: i16, text: &str) -> Result<Option<WeightChange>, ProbeOutcome> {
    let number: i64 = text.trim().parse().map_err(|_| ProbeOutcome::Unknown(NO_NUMBER))?;
    let most = i64::from(u16::MAX); // more makes no difference
    let change = number.saturating_mul(factor.into()).clamp(-most, most) as i32;
    Ok((change != 0).then_some(WeightChange::By(change)))
}

fn judge(good: GoodFile, found: io::Result<Option<String>>, path: &str) -> Result<(), ProbeOutcome> {
    let failed = |what| Err(ProbeOutcome::Failed(ProbeFailure::Answer(what)));
    let unknown = |error| Err(ProbeOutcome::Unknown(error));
    let is_missing = matches!(&found, Err(error) if error.kind() == ErrorKind::NotFound);
    match (good, found) {
        (GoodFile::Zero, Ok(text)) => match text.unwrap_or_default().trim().parse::<i64>() {
            Ok(0) => Ok(()),
            Ok(number) => failed(format!("{path} has {number}, not 0")),
            Err(_) => unknown(NO_NUMBER),
        },
        (GoodFile::Zero, Err(_)) if is_missing => unknown(MISSING),
        (GoodFile::Present, Err(_)) if is_missing => failed(format!("{path} is missing")),
        (GoodFile::Absent, Ok(_)) => failed(format!("{path} is there")),
        (GoodFile::Present, Ok(_)) => Ok(()),
        (GoodFile::Absent, Err(_)) if is_missing => Ok(()),
        (_, Err(_)) => unknown(UNREADABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckKind, CheckTiming};
    use std::fs;
    use std::sync::Arc;
    use std::time::Duration;

    fn run_on(path: &str, good: GoodFile) -> Result<(), ProbeOutcome> {
        weighed(path, good, None).map(|change| assert_eq!(change, None))
    }

    fn weighed(
        path: &str,
        good: GoodFile,
        weight: Option<i16>,
    ) -> Result<Option<WeightChange>, ProbeOutcome> {
        let check = FileCheck { path: path.into(), good, weight };
        let key = CheckKey {
            server: [192, 0, 2, 7].into(),
            vip: None,
            port: 0,
            kind: Arc::new(CheckKind::File(check.clone())),
            timing: CheckTiming::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let deadline = Instant::now() + Duration::from_secs(5);
            run(&check, &key, &BlockingTasks::default(), deadline).await
        })
    }

    #[test]
    fn a_number_or_the_existence_decides() {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("{}/{}", directory.path().display(), FileCheck::RIP);
        let file = directory.path().join("192.0.2.7");
        let failed = |what: &str| {
            let what = format!("{} {what}", file.display());
            Err(ProbeOutcome::Failed(ProbeFailure::Answer(what)))
        };
        assert_eq!(run_on(&path, GoodFile::Zero), Err(ProbeOutcome::Unknown(MISSING)));
        assert_eq!(run_on(&path, GoodFile::Present), failed("is missing"));
        assert_eq!(run_on(&path, GoodFile::Absent), Ok(()));
        for (text, outcome) in [
            ("0\n", Ok(())),
            (" 0", Ok(())),
            ("-3\n", failed("has -3, not 0")),
            ("1", failed("has 1, not 0")),
            ("", Err(ProbeOutcome::Unknown(NO_NUMBER))),
            ("up\n", Err(ProbeOutcome::Unknown(NO_NUMBER))),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(run_on(&path, GoodFile::Zero), outcome, "{text:?}");
        }
        for (text, factor, change) in [
            ("0", 3, Ok(None)),
            ("7\n", 1, Ok(Some(WeightChange::By(7)))),
            ("7", -3, Ok(Some(WeightChange::By(-21)))),
            ("-9223372036854775808", 254, Ok(Some(WeightChange::By(-65_535)))),
            ("x", 1, Err(ProbeOutcome::Unknown(NO_NUMBER))),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(weighed(&path, GoodFile::Zero, Some(factor)), change, "{text:?}");
        }
        assert_eq!(run_on(&path, GoodFile::Present), Ok(()));
        assert_eq!(run_on(&path, GoodFile::Absent), failed("is there"));
        let below = format!("{}/below", file.display());
        assert_eq!(run_on(&below, GoodFile::Present), Err(ProbeOutcome::Unknown(UNREADABLE)), "ENOTDIR");
    }
}
