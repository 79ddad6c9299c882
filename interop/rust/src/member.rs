//! Members of a consumer group, each polled by a thread of its own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode;

use crate::{consumer, Res};

const LIMIT: Duration = Duration::from_secs(40);

#[derive(Default)]
struct State {
    assigned: BTreeSet<(String, i32)>,
    seen: BTreeSet<(String, i32, i64)>,
    rebalances: usize,
    error: Option<String>,
}

pub struct Member {
    state: Arc<Mutex<State>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Joins a group; protocol is classic, cooperative (classic too) or consumer.
    pub fn join(group: &str, subscription: &str, protocol: &str, more: &[(&str, &str)]) -> Res<Member> {
        let mut conf = match protocol {
            "cooperative" => vec![("partition.assignment.strategy", "cooperative-sticky")],
            p => vec![("group.protocol", p)],
        };
        conf.extend_from_slice(more);
        let c = consumer(group, &conf)?;
        c.subscribe(&[subscription])?;
        let (state, end) = (Arc::new(Mutex::new(State::default())), Arc::new(AtomicBool::new(false)));
        let (at, ended) = (state.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let polled = c.poll(Duration::from_millis(50));
                let mut s = at.lock().unwrap();
                if let Ok(list) = c.assignment() {
                    let now = list.elements().iter().map(|e| (e.topic().to_string(), e.partition())).collect();
                    if now != s.assigned {
                        s.assigned = now;
                        s.rebalances += 1;
                    }
                }
                match polled {
                    None => {}
                    Some(Ok(m)) => {
                        s.seen.insert((m.topic().to_string(), m.partition(), m.offset()));
                    }
                    Some(Err(e)) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
                    Some(Err(e)) => {
                        s.error = Some(e.to_string());
                        return;
                    }
                }
            }
        });
        Ok(Member { state, end, thread: Some(thread) })
    }

    pub fn assigned(&self) -> BTreeSet<(String, i32)> {
        self.state.lock().unwrap().assigned.clone()
    }

    pub fn seen(&self) -> BTreeSet<(String, i32, i64)> {
        self.state.lock().unwrap().seen.clone()
    }

    pub fn rebalances(&self) -> usize {
        self.state.lock().unwrap().rebalances
    }

    pub fn error(&self) -> Option<String> {
        self.state.lock().unwrap().error.clone()
    }

    /// Leaves the group (a static member only goes silent) and tells what it saw, or what went wrong while it was there.
    pub fn close(mut self) -> Res<BTreeSet<(String, i32, i64)>> {
        self.finish();
        match self.error() {
            Some(e) => Err(format!("a member failed: {e}").into()),
            None => Ok(self.seen()),
        }
    }

    fn finish(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.finish();
    }
}

pub fn until(what: &str, mut done: impl FnMut() -> Res<bool>) -> Res<()> {
    let end = Instant::now() + LIMIT;
    while !done()? {
        if Instant::now() > end {
            return Err(format!("gave up waiting for {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Waits until the members own n partitions, each exactly one, and none more than its share.
pub fn balanced(n: usize, members: &[&Member]) -> Res<()> {
    until(&format!("{n} partitions spread over {} members", members.len()), || {
        let (mut all, mut sum, mut most) = (BTreeSet::new(), 0, 0);
        for m in members {
            if let Some(e) = m.error() {
                return Err(format!("a member failed: {e}").into());
            }
            let own = m.assigned();
            sum += own.len();
            most = most.max(own.len());
            all.extend(own);
        }
        Ok(sum == n && all.len() == n && most <= n.div_ceil(members.len()))
    })
}
