//! Budgets that all gateways count together.
//!
//! # What holds
//!
//! * Whoever begins something asks first, and tells in the same step what has been used here since: so what gateways that reach the
//!   backend use beyond a budget is at most what was under way when it ended, one generation for each client.
//! * What is told twice counts once, and what is not heard of is told again: an answer that is lost loses and doubles nothing.
//! * While the backend cannot be reached a gateway goes on with the sum that it last knew and what it uses itself, and tells all of it
//!   afterwards: so each gateway may use what was left of a budget when the backend was lost, and no more.
//! * A backend that has lost its data is told by each gateway what it knew: the largest of these sums, and what each has used since.
//! * A crash loses what was not told yet: what is used is told at once, and after a second again where no answer came.

use super::Fleet;
use super::setup::Setup;
use crate::limit::budgets::{Report, Spending};
use crate::telemetry::fleet::Fallback;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A budget that gateways count together.
#[derive(Clone, Debug)]
pub struct SharedBudget {
    /// What it is called in all gateways: its tenant and its name.
    pub name: String,
    /// What is counted of it here.
    pub spending: Arc<Spending>,
}

impl Fleet {
    /// Before something begins: what all have used of these budgets, at a time since 1970. Where no answer comes in time, what is known
    /// here stays.
    pub async fn ask(&self, budgets: &[SharedBudget], now: Duration) {
        let within = self.common.setup.timeout;
        if !self.spend(budgets, now, within).await {
            self.common.tally.fell_back(Fallback::Budget);
        }
    }

    /// Tells what was used of these budgets here. False when no answer came.
    pub async fn tell(&self, budgets: &[SharedBudget], now: Duration) -> bool {
        self.spend(budgets, now, self.common.setup.patience()).await
    }

    async fn spend(&self, budgets: &[SharedBudget], now: Duration, within: Duration) -> bool {
        let common = &self.common;
        let Some(live) = common.link.live().filter(|live| live.answers()) else { return false };
        let reports: Vec<(String, Report)> = budgets.iter().map(|one| report(&common.setup, one, now)).collect();
        let mut connection = live.connection();
        let answer = timeout(within, common.scripts.spend(&mut connection, &common.setup.id, &reports)).await;
        if let Ok(answer) = &answer {
            let keys: Vec<&str> = reports.iter().map(|(key, _)| key.as_str()).collect();
            let error = answer.as_ref().err().filter(|error| !error.is_io_error());
            if error.is_some() || answer.is_ok() {
                common.tally.answered(Fallback::Budget, error, &keys);
            }
        }
        match answer {
            Ok(Ok(sums)) => {
                for ((budget, (_, report)), (sum, epoch)) in budgets.iter().zip(&reports).zip(sums) {
                    budget.spending.heard(report, sum, epoch);
                }
                true
            }
            // A backend that takes no writes, for instance.
            Ok(Err(error)) if !error.is_io_error() => false,
            Ok(Err(_)) | Err(_) => {
                live.slow();
                false
            }
        }
    }
}

/// What is told of a budget, and under which key.
fn report(setup: &Setup, budget: &SharedBudget, now: Duration) -> (String, Report) {
    let report = budget.spending.report(now);
    (format!("{}:budget:{}:{}", setup.prefix, budget.name, report.period), report)
}
