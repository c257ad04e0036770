//! Connections: which of two stays, and what becomes of what waits on one that ends.

use super::*;

#[test]
fn the_smaller_instance_retires_the_older_connection_once_the_newer_has_answered() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.joined(FIRST, 1, "them");
    desk.dialled(SECOND, LARGER, "a:1");
    assert_eq!(desk.work(SECOND), Work::Frames(vec![Frame::Ping]));
    assert_eq!(desk.work(FIRST), Work::Wait(None));
    desk.switchboard.heard(desk.now, SECOND);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
    assert_eq!(desk.work(SECOND), Work::Wait(None));
    // Whoever was heard on the old one is reached through the new one.
    desk.send(&to_them(), 1);
    assert_eq!(desk.bodies(SECOND), ["1"]);
}

#[test]
fn the_larger_instance_leaves_the_choice_to_the_other() {
    let mut desk = Desk::new();
    desk.accept(FIRST, SMALLER);
    desk.accept(SECOND, SMALLER);
    desk.switchboard.heard(desk.now, FIRST);
    desk.switchboard.heard(desk.now, SECOND);
    assert_eq!(
        (desk.work(FIRST), desk.work(SECOND)),
        (Work::Wait(None), Work::Wait(None))
    );
}

#[test]
fn the_two_ends_of_a_connection_to_ourselves_both_stay() {
    let mut desk = Desk::new();
    desk.accept(FIRST, OURS);
    desk.accept(SECOND, OURS);
    desk.switchboard.heard(desk.now, FIRST);
    desk.switchboard.heard(desk.now, SECOND);
    assert_eq!(
        (desk.work(FIRST), desk.work(SECOND)),
        (Work::Wait(None), Work::Wait(None))
    );
}

#[tokio::test]
async fn what_was_not_begun_on_a_retired_connection_is_begun_on_the_one_that_stays() {
    let mut desk = Desk::new();
    let opened = Opened {
        instance: SMALLER,
        remote: REMOTE,
        dialled: None,
    };
    let (staying, _) = desk.switchboard.opened(desk.now, FIRST, opened);
    desk.send(&at("a:1"), 1);
    desk.dialled(SECOND, SMALLER, "a:1");
    assert_eq!(
        desk.switchboard.take_job(desk.now, FIRST),
        None,
        "it belongs to the newest"
    );
    desk.switchboard.heard_goodbye(desk.now, SECOND);
    staying.proofs.notified().await;
    desk.join(FIRST, "them");
    assert_eq!(desk.bodies(FIRST), ["1"]);
}

#[test]
fn a_retired_connection_finishes_the_proofs_that_are_under_way() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let job = desk.job(FIRST).unwrap();
    let asked = desk.switchboard.asked(desk.now, FIRST, &open(1, "us")).unwrap();
    desk.switchboard.retire(desk.now, FIRST);
    let until = Some(desk.now + Duration::from_secs(1));
    assert_eq!(desk.work(FIRST), Work::Wait(until));
    desk.confirmed(FIRST, job.channel);
    assert!(
        desk.switchboard
            .accepted(desk.now, FIRST, accept(job.channel, "them"), false)
    );
    assert_eq!(desk.bodies(FIRST), ["1"]);
    assert_eq!(desk.work(FIRST), Work::Wait(until));
    desk.switchboard.unproven(desk.now, FIRST, &asked);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
    // It does not wait for ever, nor for what cannot come any more.
    for gone in [false, true] {
        desk.accept(SECOND, OTHER);
        desk.switchboard.asked(desk.now, SECOND, &open(1, "us")).unwrap();
        desk.switchboard.retire(desk.now, SECOND);
        assert!(matches!(desk.work(SECOND), Work::Wait(Some(_))));
        match gone {
            true => desk.switchboard.heard_goodbye(desk.now, SECOND),
            false => desk.later(1_000),
        }
        assert_eq!(desk.work(SECOND), Work::Goodbye);
        desk.switchboard.closed(desk.now, SECOND);
    }
}

#[test]
fn a_frame_on_a_retired_connection_retires_nothing() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.switchboard.retire(desk.now, FIRST);
    desk.accept(SECOND, LARGER);
    desk.switchboard.heard(desk.now, FIRST);
    assert_eq!(desk.work(SECOND), Work::Wait(None));
}

#[test]
fn a_retired_connection_writes_what_it_has_before_it_says_goodbye() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.joined(FIRST, 1, "them");
    desk.send(&to_them(), 1);
    desk.switchboard.retire(desk.now, FIRST);
    assert_eq!(desk.bodies(FIRST), ["1"]);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
}

#[test]
fn what_a_dead_connection_had_not_begun_to_write_finds_another_way_or_is_dialled_for() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, SMALLER, "a:1");
    desk.join(FIRST, "them");
    desk.later(6_000);
    desk.send(&at("a:1"), 2);
    // No address is known for this one, so it is lost with the last connection.
    desk.send(&to_them(), 3);
    desk.accept(SECOND, SMALLER);
    assert_eq!(desk.switchboard.closed(desk.now, FIRST), []);
    assert_eq!(
        desk.switchboard.closed(desk.now, SECOND),
        [dial("a:1", 0).unwrap()]
    );
    desk.dialled(ConnectionId(3), SMALLER, "a:1");
    assert_eq!(desk.bodies(ConnectionId(3)), ["2"]);
}

#[test]
fn what_waits_for_a_proof_on_a_connection_that_ends_is_dialled_for() {
    let mut desk = Desk::new();
    desk.send(&at("a:1"), 1);
    desk.dialled(FIRST, LARGER, "a:1");
    let job = desk.job(FIRST).unwrap();
    assert_eq!(
        desk.switchboard.closed(desk.now, FIRST),
        [dial("a:1", 50).unwrap()]
    );
    desk.dialled(SECOND, LARGER, "a:1");
    // The old proof counts no more.
    assert_eq!(desk.confirmed(SECOND, job.channel), None);
    desk.join(SECOND, "them");
    assert_eq!(desk.bodies(SECOND), ["1"]);
}

#[test]
fn a_connection_without_messages_is_retired_and_pings_do_not_save_it() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.accept(SECOND, OTHER);
    desk.joined(SECOND, 1, "them");
    desk.later(59_000);
    desk.receive(SECOND, theirs(1));
    desk.switchboard.heard(desk.now, FIRST);
    desk.later(2_000);
    desk.switchboard.sweep(desk.now);
    assert_eq!(
        (desk.work(FIRST), desk.work(SECOND)),
        (Work::Goodbye, Work::Wait(None))
    );
}

#[test]
fn a_connection_with_too_many_answers_waiting_is_not_read_until_they_are_written() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    for _ in 0..16 {
        assert!(!desk.switchboard.is_behind(FIRST));
        desk.switchboard.control(FIRST, Frame::Pong);
    }
    assert!(desk.switchboard.is_behind(FIRST));
    desk.work(FIRST);
    assert!(!desk.switchboard.is_behind(FIRST));
}

#[test]
fn after_shutdown_everything_says_goodbye_and_nothing_begins() {
    let mut desk = Desk::new();
    desk.accept(FIRST, LARGER);
    desk.joined(FIRST, 1, "them");
    desk.send(&to_them(), 1);
    desk.switchboard.shut_down(desk.now);
    assert_eq!(desk.bodies(FIRST), ["1"]);
    assert_eq!(desk.work(FIRST), Work::Goodbye);
    desk.accept(SECOND, LARGER);
    assert_eq!(desk.work(SECOND), Work::Goodbye);
    let refused = desk.try_send(&at("a:1"), 1);
    assert!(matches!(refused, Err(Error::ShutDown)));
    assert!(matches!(
        desk.switchboard.take_event(desk.us),
        Err(Error::ShutDown)
    ));
}
