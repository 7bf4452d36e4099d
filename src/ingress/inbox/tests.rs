//! Tests of the channel between receivers and the loop.

use bytes::Bytes;

use super::*;

/// Runs a closure of a test.
struct Does<F>(F);

impl<F: FnOnce(Inlet) + Send> Source for Does<F> {
    fn sends_barriers(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, inlet: Inlet) {
        (self.0)(inlet);
    }
}

fn list() -> (ReadyList, mio::Poll) {
    let poll = mio::Poll::new().unwrap();
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
    (ReadyList::new(Wake::new(waker)), poll)
}

fn start(number: usize, ready: &ReadyList, run: impl FnOnce(Inlet) + Send + 'static) -> Handle {
    Handle::start(&"in".into(), number, ready, Box::new(Does(run))).unwrap()
}

/// Everything from the listed receivers, by their numbers, until one is gone.
fn until_gone(ready: &ReadyList, handles: &[Handle]) -> Vec<(usize, Option<Received>)> {
    let mut found = Vec::new();
    loop {
        for number in ready.take() {
            handles[number].unlist();
            loop {
                match handles[number].take() {
                    Ok(Some(received)) => found.push((number, Some(received))),
                    Ok(None) => break,
                    Err(Ended) => {
                        found.push((number, None));
                        if handles[number].is_gone() {
                            return found;
                        }
                        break;
                    }
                }
            }
        }
        thread::yield_now();
    }
}

#[test]
fn the_list_names_only_receivers_that_have_something_and_loses_nothing() {
    let (ready, _poll) = list();
    let lines = 100 * limits::RECEIVED_WAITING;
    let silent = |inlet: Inlet| {
        while !inlet.stopped() {
            thread::yield_now();
        }
    };
    let talks = move |inlet: Inlet| {
        for number in 0..lines {
            let bytes = Bytes::from(format!("{number}\n"));
            inlet.send(Some(inlet.batch(Piece::new(bytes, 1))), InputCounts::default());
        }
    };
    let mut handles = [start(0, &ready, silent), start(1, &ready, talks)];
    let found = until_gone(&ready, &handles);
    assert!(found.iter().all(|(number, _)| *number == 1));
    let batches = found.into_iter().filter_map(|(_, received)| received?.batch);
    let texts: Vec<_> = batches.map(|batch| batch.bytes).collect();
    assert_eq!(texts, (0..lines).map(|n| Bytes::from(format!("{n}\n"))).collect::<Vec<_>>());
    handles[0].stop();
    assert_eq!(until_gone(&ready, &handles).len(), 1);
    handles.iter_mut().for_each(Handle::join);
}

#[test]
fn a_query_of_several_origins_is_answered_after_the_last_line_too() {
    let (ready, _poll) = list();
    let origins = vec![Identity::of(1), Identity::of(2)];
    let asked = origins.clone();
    let (told, heard) = channel();
    let asks = move |mut inlet: Inlet| {
        let numbers = [inlet.query(asked), inlet.query(Vec::new()), inlet.barrier()];
        inlet.close();
        let mut all = Answers::default();
        while !inlet.is_abandoned() {
            let answers = inlet.answers();
            all.completed = answers.completed.or(all.completed);
            all.resumed.extend(answers.resumed);
        }
        told.send((numbers, all.completed, all.resumed)).unwrap();
    };
    let mut handles = [start(0, &ready, asks)];
    let mut barriers = Vec::new();
    while barriers.len() < 3 {
        if let Ok(Some(received)) = handles[0].take() {
            barriers.extend(received.barrier);
        }
    }
    assert_eq!((barriers[0].number, &barriers[0].inquiry.origins), (1, &origins));
    assert_eq!((barriers[1].number, &barriers[1].inquiry), (2, &Inquiry::default()));
    let lasts = vec![vec![Some(7), None], vec![None, Some(9)]];
    handles[0].resume(1, lasts.clone());
    handles[0].completed(2);
    handles[0].completed(3);
    handles[0].join();
    assert_eq!(heard.recv().unwrap(), ([1, 2, 3], Some(3), vec![(1, lasts)]));
}

#[test]
fn a_receiver_that_waits_for_room_is_woken_once_little_is_left_and_waits_for_nothing_else() {
    let (ready, _poll) = list();
    let (told, heard) = channel();
    let fills = move |inlet: Inlet| {
        while inlet.has_room_for(1) {
            inlet.send(Some(inlet.batch(Piece::new("x\n".into(), 1))), InputCounts::default());
        }
        told.send(0).unwrap();
        // Far longer than a test may take.
        inlet.rest_until_room(1, Duration::from_secs(3600));
        assert!(inlet.has_room_for(1));
        // Where there is room it does not wait.
        inlet.rest_until_room(1, Duration::from_secs(3600));
        told.send(1).unwrap();
    };
    let mut handles = [start(0, &ready, fills)];
    assert_eq!(heard.recv().unwrap(), 0);
    let mut taken = 0;
    while heard.try_recv().is_err() {
        // One that has not begun to wait yet finds room by itself.
        taken += u32::from(matches!(handles[0].take(), Ok(Some(_))));
        thread::yield_now();
    }
    assert!(taken > 0);
    handles.iter_mut().for_each(Handle::join);
}
