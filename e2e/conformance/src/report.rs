//! What the suite printed.

/// What came of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Checks that passed.
    pub passed: u32,
    /// Checks that failed.
    pub failed: u32,
    /// Scenarios of which a check failed, or which could not be run.
    pub failing: Vec<String>,
    /// Whether the suite itself calls it a success.
    pub success: bool,
    /// Everything that it printed.
    pub log: String,
}

impl Report {
    /// Reads what was printed. The numbers are those of the last line that has them: `Total: 83 passed, 0 failed` of a
    /// run against a server, `Passed: 2/2, 0 failed, 0 warnings` of one against a client.
    pub fn read(success: bool, log: String) -> Self {
        let (passed, failed) = log.lines().rev().find_map(counts).unwrap_or((0, 1));
        let failing = log
            .lines()
            .filter_map(|line| line.trim().strip_prefix('✗'))
            .map(|line| line.trim().to_owned());
        Self {
            passed,
            failed,
            failing: failing.collect(),
            success,
            log,
        }
    }

    /// Whether exactly `checks` checks were made and all of them passed. A suite that checks less is no proof.
    pub fn is_whole(&self, checks: u32) -> bool {
        self.success && self.failed == 0 && self.failing.is_empty() && self.passed == checks
    }

    /// What to look at when it is not whole.
    pub fn summary(&self) -> String {
        let Self { passed, failed, .. } = self;
        let shown = if self.success && *failed == 0 { "" } else { &self.log };
        format!("{passed} passed, {failed} failed\n{}\n{shown}", self.failing.join("\n"))
    }
}

fn counts(line: &str) -> Option<(u32, u32)> {
    let (passed, failed) = if let Some(line) = line.strip_prefix("Total: ") {
        line.strip_suffix(" failed")?.split_once(" passed, ")?
    } else {
        let (passed, rest) = line.strip_prefix("Passed: ")?.split_once('/')?;
        (passed, rest.split_once(", ")?.1.split_once(" failed")?.0)
    };
    Some((passed.parse().ok()?, failed.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_total_are_read() {
        let server = Report::read(
            true,
            "✓ ping: 2 passed, 0 failed\n\nTotal: 83 passed, 0 failed\n".into(),
        );
        assert!(server.is_whole(83) && !server.is_whole(84));
        let client = Report::read(true, "Passed: 2/2, 0 failed, 0 warnings\n✅ OVERALL: PASSED\n".into());
        assert!(client.is_whole(2));
    }

    #[test]
    fn no_total_is_a_failure() {
        assert!(!Report::read(true, "nothing ran".into()).is_whole(0));
    }

    #[test]
    fn a_scenario_that_failed_is_named() {
        let report = Report::read(
            false,
            "✗ ping: 1 passed, 1 failed\n\nTotal: 1 passed, 1 failed\n".into(),
        );
        assert_eq!(report.failing, ["ping: 1 passed, 1 failed"]);
        assert!(!report.is_whole(1));
    }
}
