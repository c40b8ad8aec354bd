//! The gate does what the naive one does: in any order of a few clients' steps, and in long random runs.
//!
//! All that a gate does, it does in one critical section, and what it calls, it calls after that. So what threads can do to it
//! is some order of whole calls, and to try all orders of the calls of a few clients is to try all that they can do to each other.

use super::naive::{Step, World};
use proptest::prelude::*;
use speechgate::limit::{AccountSet, Priority};

/// A client: enters, comes for its slot when it is woken, and leaves with it. `impatient`: may also leave while it waits.
#[derive(Clone, Copy)]
struct Script {
    priority: Priority,
    accounts: AccountSet,
    impatient: bool,
}

/// What may happen: clients who enter in this order or any other, and things that somebody else does, in this order.
struct Scene {
    max: u32,
    queue: u32,
    accounts: usize,
    clients: &'static [Script],
    meanwhile: &'static [Step],
}

/// One way through a scene: the gate as it is then, and who has done what.
struct Run<'a> {
    scene: &'a Scene,
    world: World,
    /// For each script, which client it became.
    entered: Vec<Option<usize>>,
    done: Vec<bool>,
    meanwhile: usize,
}

#[derive(Clone, Copy)]
enum Choice {
    Enter(usize),
    Poll(usize),
    Leave(usize),
    Meanwhile,
}

impl<'a> Run<'a> {
    fn new(scene: &'a Scene) -> Run<'a> {
        let world = World::new(scene.max, scene.queue, scene.accounts);
        let count = scene.clients.len();
        Run { scene, world, entered: vec![None; count], done: vec![false; count], meanwhile: 0 }
    }

    /// What may be next, and whether any of it happens by itself.
    fn choices(&self) -> (Vec<Choice>, bool) {
        let mut choices = Vec::new();
        let mut goes_on = self.meanwhile < self.scene.meanwhile.len();
        if goes_on {
            choices.push(Choice::Meanwhile);
        }
        for (index, script) in self.scene.clients.iter().enumerate() {
            match self.entered[index] {
                _ if self.done[index] => continue,
                None => choices.push(Choice::Enter(index)),
                Some(client) if self.world.holds(client) => choices.push(Choice::Leave(index)),
                Some(client) => {
                    if script.impatient {
                        choices.push(Choice::Leave(index));
                    }
                    if !self.world.runnable(client) {
                        continue;
                    }
                    choices.push(Choice::Poll(index));
                }
            }
            goes_on = true;
        }
        (choices, goes_on)
    }

    fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Meanwhile => {
                self.world.apply(self.scene.meanwhile[self.meanwhile]);
                self.meanwhile += 1;
            }
            Choice::Enter(index) => {
                let client = self.world.entered();
                let Script { priority, accounts, .. } = self.scene.clients[index];
                self.world.apply(Step::Enter(priority, accounts));
                self.entered[index] = Some(client);
                // Refused, for the queue is full.
                self.done[index] = !self.world.holds(client) && !self.world.waits(client);
            }
            Choice::Poll(index) => self.world.apply(Step::Poll(self.entered[index].expect("entered"))),
            Choice::Leave(index) => {
                self.world.apply(Step::Leave(self.entered[index].expect("entered")));
                self.done[index] = true;
            }
        }
    }
}

/// Goes through a scene in every order there is, and tells how many there are.
fn every_order(scene: &Scene) -> usize {
    // Of each choice that was made, which one it was and how many there were.
    let mut path: Vec<(usize, usize)> = Vec::new();
    let mut orders = 0;
    // How many choices are those of the run before, after which everything has been compared.
    let mut known = 0;
    loop {
        let mut run = Run::new(scene);
        for depth in 0.. {
            let (choices, goes_on) = run.choices();
            if !goes_on {
                assert!(run.done.iter().all(|done| *done), "somebody waits for ever: {path:?}");
                break;
            }
            if depth == path.len() {
                path.push((0, choices.len()));
            }
            run.take(choices[path[depth].0]);
            if depth >= known {
                run.world.compare();
            }
        }
        run.world.finish();
        orders += 1;
        while path.last().is_some_and(|(chosen, count)| chosen + 1 == *count) {
            path.pop();
        }
        let Some((chosen, _)) = path.last_mut() else { return orders };
        *chosen += 1;
        known = path.len() - 1;
    }
}

const PATIENT: Script = Script { priority: Priority::Normal, accounts: AccountSet::ALL, impatient: false };
const IMPATIENT: Script = Script { impatient: true, ..PATIENT };
const HIGH: Script = Script { priority: Priority::High, ..PATIENT };
const LOW: Script = Script { priority: Priority::Low, ..IMPATIENT };

/// Each with the number of its orders, so that a scene which says less than it did is noticed.
const SCENES: [(&str, usize, Scene); 8] = [
    (
        "one slot, four who want it, one of whom may give up",
        37_284,
        Scene { max: 1, queue: 8, accounts: 1, clients: &[PATIENT, PATIENT, PATIENT, IMPATIENT], meanwhile: &[] },
    ),
    (
        "one slot, three priorities",
        44_042,
        Scene { max: 1, queue: 8, accounts: 1, clients: &[LOW, PATIENT, HIGH, HIGH], meanwhile: &[] },
    ),
    (
        "a queue of one",
        200,
        Scene { max: 1, queue: 1, accounts: 1, clients: &[PATIENT, IMPATIENT, HIGH], meanwhile: &[] },
    ),
    (
        "a cap that shrinks and grows",
        12_996,
        Scene {
            max: 2,
            queue: 8,
            accounts: 1,
            clients: &[PATIENT, IMPATIENT, PATIENT],
            meanwhile: &[Step::Learned(0, 1), Step::Learned(0, 2)],
        },
    ),
    (
        "a pause",
        868,
        Scene {
            max: 1,
            queue: 8,
            accounts: 1,
            clients: &[PATIENT, IMPATIENT],
            meanwhile: &[Step::Pause(0, 10), Step::Pass(9), Step::Pass(1)],
        },
    ),
    (
        "a fleet that grants nothing for a while",
        1216,
        Scene {
            max: 1,
            queue: 8,
            accounts: 1,
            clients: &[PATIENT, LOW],
            meanwhile: &[Step::Share(0, Some(0)), Step::Share(0, Some(1)), Step::Share(0, None)],
        },
    ),
    (
        "two accounts",
        13_249,
        Scene {
            max: 1,
            queue: 8,
            accounts: 2,
            clients: &[
                PATIENT,
                IMPATIENT,
                Script { accounts: AccountSet::only(0), ..HIGH },
                Script { accounts: AccountSet::only(0), ..PATIENT },
            ],
            meanwhile: &[],
        },
    ),
    (
        "a reload in each direction",
        22_830,
        Scene {
            max: 1,
            queue: 8,
            accounts: 1,
            clients: &[PATIENT, IMPATIENT, PATIENT],
            meanwhile: &[Step::Resize(2, 8), Step::Resize(1, 1)],
        },
    ),
];

#[test]
fn every_order_of_a_few_clients_agrees() {
    for (what, orders, scene) in &SCENES {
        assert_eq!(every_order(scene), *orders, "{what}");
    }
}

/// Any step; clients and accounts may not exist.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let priority = prop_oneof![4 => Just(Priority::High), 2 => Just(Priority::Normal), 1 => Just(Priority::Low)];
    let accounts = prop_oneof![
        6 => Just(AccountSet::ALL),
        1 => (0..3_usize).prop_map(AccountSet::only),
        1 => (0..3_usize).prop_map(|account| AccountSet::ALL.without(account)),
    ];
    let step = prop_oneof![
        12 => (priority, accounts).prop_map(|(priority, accounts)| Step::Enter(priority, accounts)),
        8 => (0..100_usize).prop_map(Step::Poll),
        12 => (0..100_usize).prop_map(Step::Leave),
        1 => (0..3_usize, 0..5_u32).prop_map(|(account, cap)| Step::Learned(account, cap)),
        1 => (0..3_usize, prop::option::of(0..5_u32)).prop_map(|(account, share)| Step::Share(account, share)),
        1 => (0..3_usize, 1..100_u64).prop_map(|(account, ms)| Step::Pause(account, ms)),
        1 => (1..4_u32, 0..40_u32).prop_map(|(max, queue)| Step::Resize(max, queue)),
        2 => (0..60_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn long_random_runs_agree(max in 1..4_u32, queue in 0..40_u32, accounts in 1..4_usize, steps in steps()) {
        let mut world = World::new(max, queue, accounts);
        for step in steps {
            // The latest hundred clients are those who may still be there.
            let client = |index: usize| world.entered().checked_sub(index + 1);
            match step {
                Step::Poll(index) => client(index).map(Step::Poll),
                Step::Leave(index) => client(index).map(Step::Leave),
                Step::Learned(account, _) | Step::Share(account, _) | Step::Pause(account, _) if account >= accounts => None,
                other => Some(other),
            }
            .into_iter()
            .for_each(|step| world.step(step));
        }
        world.step(Step::Pass(200));
        world.finish();
    }
}
