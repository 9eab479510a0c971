// SPDX-License-Identifier: Apache-2.0
//! Lines on their way to a writer whose reader may stall.
//!
//! Enters as lines, from any task; leaves on the writer, from one thread that owns it and is the only one to wait for it.
//! Between the two is a bounded queue: when it is full, lines are dropped and counted, and whoever prints goes on. A
//! writer that fails is no failure here.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

/// How many lines may wait for the writer.
pub(super) const QUEUE: usize = 1024;

/// How long the end waits for a reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// The queue and its writer thread.
///
/// When it is dropped, the thread still writes what waits, as long as the process lives; [`Lines::finish`] waits for it.
#[derive(Debug)]
pub(super) struct Lines {
    queue: SyncSender<String>,
    loss: Arc<Loss>,
    /// Nothing is ever sent: it closes when the thread ends.
    ended: Receiver<()>,
}

/// What was dropped.
#[derive(Debug, Default)]
struct Loss {
    dropped: AtomicU64,
    /// Lines were dropped since the queue was last empty.
    is_behind: AtomicBool,
}

impl Lines {
    /// Starts the thread. Where none can be started, everything is dropped, and one log line says why.
    pub(super) fn new(mut out: Box<dyn Write + Send>) -> Self {
        let (queue, waiting) = mpsc::sync_channel(QUEUE);
        let (end, ended) = mpsc::sync_channel(0);
        let loss = Arc::<Loss>::default();
        let seen = Arc::clone(&loss);
        let started = thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let _end: SyncSender<()> = end;
                write_all(&waiting, out.as_mut(), &seen);
            });
        if let Err(error) = started {
            tracing::error!(error = %error, "could not start the thread that prints, nothing will be printed");
        }
        Self { queue, loss, ended }
    }

    /// Queues a line, without its end. Never waits.
    pub(super) fn push(&self, line: &str) {
        // The queue is closed only when its thread is gone, and then there is nobody to print for.
        if let Err(TrySendError::Full(_)) = self.queue.try_send(format!("{line}\n")) {
            self.loss.note();
        }
    }

    /// Waits until what was queued is written, but not longer than a second. Blocks.
    pub(super) fn finish(self) {
        let loss = Arc::clone(&self.loss);
        if !self.written_within(PATIENCE) {
            let dropped = loss.dropped.load(Ordering::Relaxed);
            tracing::warn!(
                dropped,
                "the output is not being read, its last lines were not printed"
            );
        }
    }

    /// Whether all of it was written in time.
    pub(super) fn written_within(self, patience: Duration) -> bool {
        drop(self.queue);
        self.ended.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
    }

    /// How many lines were dropped so far.
    #[cfg(test)]
    pub(super) fn dropped(&self) -> u64 {
        self.loss.dropped.load(Ordering::Relaxed)
    }
}

impl Loss {
    /// Says so for the first line only: the count follows when the reader has caught up.
    fn note(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if !self.is_behind.swap(true, Ordering::Relaxed) {
            tracing::warn!("the output is not being read, lines are dropped until it is");
        }
    }

    fn tell(&self) {
        if self.is_behind.swap(false, Ordering::Relaxed) {
            let dropped = self.dropped.load(Ordering::Relaxed);
            tracing::warn!(dropped, "the output is being read again, lines are missing");
        }
    }
}

/// Writes until nobody can queue any more. Nobody to tell is nobody to tell about it: errors are ignored.
fn write_all(waiting: &Receiver<String>, out: &mut dyn Write, loss: &Loss) {
    loop {
        let next = waiting.try_recv().or_else(|_| {
            loss.tell();
            waiting.recv()
        });
        let Ok(line) = next else { return };
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex, time::Instant};

    use super::*;

    /// Long enough for a busy machine.
    const DEADLINE: Duration = Duration::from_secs(20);

    /// A writer whose reader reads nothing until the gate is dropped.
    struct Stalled {
        gate: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            self.written.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalled() -> (Lines, SyncSender<()>, Arc<Mutex<Vec<u8>>>) {
        let (open, gate) = mpsc::sync_channel(0);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let out = Stalled {
            gate,
            written: Arc::clone(&written),
        };
        (Lines::new(Box::new(out)), open, written)
    }

    /// Pushes twice what the queue holds.
    fn overfilled(lines: Lines) -> Lines {
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            (0..2 * QUEUE).for_each(|n| lines.push(&n.to_string()));
            done.send(lines).unwrap();
        });
        is_done
            .recv_timeout(DEADLINE)
            .expect("printing waits for the reader")
    }

    fn lines_of(written: &Mutex<Vec<u8>>) -> Vec<String> {
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_reader_that_stalls_holds_up_nobody_and_what_it_misses_is_counted() {
        let (lines, open, written) = stalled();
        let lines = overfilled(lines);
        // One line is in the writer's hands, or will be.
        let dropped = usize::try_from(lines.dropped()).unwrap();
        assert!((QUEUE - 1..=QUEUE).contains(&dropped), "{dropped}");
        drop(open);
        assert!(lines.written_within(DEADLINE));
        let printed = lines_of(&written);
        assert_eq!(printed.len(), 2 * QUEUE - dropped);
        assert_eq!((printed[0].as_str(), printed[1].as_str()), ("0", "1"));
    }

    #[test]
    fn after_a_stall_lines_are_printed_again() {
        let (lines, open, written) = stalled();
        let lines = overfilled(lines);
        drop(open);
        let start = Instant::now();
        while lines.loss.is_behind.load(Ordering::Relaxed) {
            assert!(start.elapsed() < DEADLINE, "the queue is still not empty");
            thread::yield_now();
        }
        lines.push("after");
        assert!(lines.written_within(DEADLINE));
        assert_eq!(lines_of(&written).last().unwrap(), "after");
    }

    #[test]
    fn the_end_does_not_wait_for_ever_for_a_reader_that_stalls() {
        let (lines, _open, written) = stalled();
        lines.push("unread");
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            lines.finish();
            done.send(()).unwrap();
        });
        is_done
            .recv_timeout(DEADLINE)
            .expect("the end waits for the reader");
        assert!(lines_of(&written).is_empty());
    }
}
