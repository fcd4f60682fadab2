//! The event log's writer: a bounded queue and one thread that writes what has gathered in one go.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::event::Event;

/// Lines that may wait for the writer: about 30 MB of events. Beyond it lines are counted as lost instead of making
/// mail wait for a slow journal; the audit trail still has each of them.
pub const LOG_QUEUE_MAX: usize = 100_000;
/// How long the writer waits for more lines after the first: without it the thread would be woken for every line, which
/// costs more than writing it.
const GATHER: Duration = Duration::from_millis(2);
/// How much is gathered into one write.
const WRITE_MAX: usize = 256 * 1024;

/// Hands events to the writer thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventLog {
    queue: SyncSender<Bytes>,
    lost: Arc<AtomicU64>,
}

impl EventLog {
    /// Starts the writer on `out`; the thread ends when every clone of the log is dropped, having written everything.
    ///
    /// # Errors
    /// The system's, when no thread can be started.
    pub fn start(out: impl Write + Send + 'static) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, lines) = sync_channel(LOG_QUEUE_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = std::thread::Builder::new().name("event-log".to_owned()).spawn({
            let lost = Arc::clone(&lost);
            move || write_all(&lines, out, &lost)
        })?;
        Ok((Self { queue, lost }, writer))
    }

    /// Writes one event and returns its line, for the audit trail to keep the same object.
    pub fn record(&self, event: &Event) -> Bytes {
        let line = event.to_json();
        self.write(line.clone());
        line
    }

    /// Writes the line of an event that was made earlier: what is accepted is logged once it is on disk.
    pub fn write(&self, line: Bytes) {
        match self.queue.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn write_all(lines: &Receiver<Bytes>, mut out: impl Write, lost: &AtomicU64) {
    let mut block = Vec::with_capacity(WRITE_MAX);
    while let Ok(first) = lines.recv() {
        std::thread::sleep(GATHER);
        block.clear();
        push(&mut block, &first);
        while block.len() < WRITE_MAX {
            match lines.try_recv() {
                Ok(line) => push(&mut block, &line),
                Err(_) => break,
            }
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            push(&mut block, format!("{{\"v\":1,\"type\":\"LogLost\",\"lines\":{missing}}}").as_bytes());
        }
        // A log that cannot be written must not stop mail; what was lost is said once writing works again.
        if out.write_all(&block).and_then(|()| out.flush()).is_err() {
            lost.fetch_add(
                u64::try_from(memchr::memchr_iter(b'\n', &block).count()).unwrap_or(u64::MAX),
                Ordering::Relaxed,
            );
        }
    }
}

fn push(block: &mut Vec<u8>, line: &[u8]) {
    block.extend_from_slice(line);
    block.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::telemetry::EventType;
    use crate::time::Timestamp;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_recorded_is_written_before_the_thread_ends() {
        let sink = Shared::default();
        let (log, writer) = EventLog::start(sink.clone()).unwrap();
        for _ in 0..1000 {
            log.record(&Event::new(EventType::Delivery, Timestamp::from_secs(1)));
        }
        drop(log);
        writer.join().unwrap();
        let written = sink.0.lock().unwrap();
        assert_eq!(memchr::memchr_iter(b'\n', &written).count(), 1000);
    }

    struct Stuck(std::sync::mpsc::Receiver<()>, Shared);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _released = self.0.recv();
            self.1.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_queue_loses_lines_and_says_how_many() {
        let (release, stuck) = std::sync::mpsc::channel();
        let sink = Shared::default();
        let (log, writer) = EventLog::start(Stuck(stuck, sink.clone())).unwrap();
        let event = Event::new(EventType::Delivery, Timestamp::from_secs(1));
        for _ in 0..LOG_QUEUE_MAX + 5000 {
            log.record(&event);
        }
        drop(release);
        drop(log);
        writer.join().unwrap();
        let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lost: u64 =
            written.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()?["lines"].as_u64()).sum();
        let kept = written.lines().filter(|l| l.contains("Delivery")).count();
        assert!(lost > 0, "nothing was lost");
        assert_eq!(u64::try_from(kept).unwrap() + lost, u64::try_from(LOG_QUEUE_MAX + 5000).unwrap());
    }
}
