//! Stream: what one connection hears of one room, held against "one stream per room" of the protocol's §5.
//!
//! No event of an attachment before its `ok`, none behind `lag` or `drop`, each the one after the last, byte
//! for byte what the log holds, and nothing behind a removal. (I3 ordered resume, I4)

use tertulia_protocol::reply::Attached;
use tertulia_protocol::{Epoch, Seq};

use crate::model::Model;

/// What the server does for a connection in one room, as the connection was told.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Stream {
    attached: Option<Attachment>,
}

#[derive(Clone, Copy, Debug)]
struct Attachment {
    epoch: Epoch,
    /// The last event that was heard, or the base.
    last: Seq,
    /// Where the page ends, if it is one.
    upto: Option<Seq>,
    /// The head when it was authorised.
    authorised: Seq,
    /// The head of the memberships that it may have been judged by: they may be ahead of the log.
    judged: Seq,
    /// The grant that it rests on was taken away: what comes next is the word that it ends.
    over: bool,
}

/// What else bears on what may be heard.
#[derive(Clone, Copy)]
pub(crate) struct Ear<'a> {
    pub(crate) user: &'a str,
    pub(crate) room: &'a str,
    /// The shards get all news, once and in order.
    pub(crate) news_are_whole: bool,
    /// The token in force grants the room.
    pub(crate) granted: bool,
    /// One before it did, on this connection.
    pub(crate) lost: bool,
}

impl Stream {
    /// `sub` was answered.
    pub(crate) fn opened(&mut self, answer: &Attached, ear: Ear<'_>, model: &mut Model) {
        let Ear { user, room, .. } = ear;
        if answer.more == (answer.upto == answer.head) || answer.base > answer.upto {
            model.fault(|| format!("{user} {room}: no answer to sub: {answer:?}"));
        }
        if !model.may_read(user, room, answer.epoch, answer.head) {
            let turns = model.turns(room, answer.epoch, user);
            model.fault(|| format!("{user} {room}: attached at {answer:?}, but {turns}"));
        }
        if !ear.granted && model.is_stranger(user, room, answer.epoch) {
            model.fault(|| format!("{user} {room}: a stranger is let in at {answer:?}"));
        }
        let upto = answer.more.then_some(answer.upto);
        let (epoch, last, authorised) = (answer.epoch, answer.base, answer.head);
        let judged = model.judged_by(user, room, epoch, authorised);
        let over = false;
        self.attached = Some(Attachment { epoch, last, upto, authorised, judged, over });
    }

    /// `sub` was refused or `unsub` answered.
    pub(crate) fn closed(&mut self) {
        self.attached = None;
    }

    /// A newer token is in force. `is_lost`: the one before granted the room, and this one does not.
    pub(crate) fn renewed(&mut self, is_lost: bool, ear: Ear<'_>, model: &mut Model) {
        let Ear { user, room, .. } = ear;
        let Some(attached) = &mut self.attached else { return };
        if attached.over {
            model.fault(|| format!("{user} {room}: still there without a grant"));
        }
        // A page that was heard to its end is no attachment any more.
        let is_there = attached.upto.is_none_or(|upto| attached.last < upto);
        attached.over = is_lost && is_there && model.is_stranger(user, room, attached.epoch);
    }

    /// An event came.
    pub(crate) fn event(&mut self, seq: Seq, line: &str, ear: Ear<'_>, model: &mut Model) {
        let Ear { user, room, .. } = ear;
        let Some(attached) = &mut self.attached else {
            return model.fault(|| format!("{user} {room}: {seq} came without an attachment"));
        };
        model.checked_events += 1;
        let Attachment { epoch, last, upto, judged, over, .. } = *attached;
        if over {
            model.fault(|| format!("{user} {room}: heard {seq} behind the end of the grant"));
        }
        if seq != last + 1 {
            let how = if seq <= last { "doubled" } else { "skipped to" };
            return model.fault(|| format!("{user} {room}: {how} {seq} behind {last}"));
        }
        attached.last = seq;
        if upto.is_some_and(|upto| seq > upto) {
            return model.fault(|| format!("{user} {room}: {seq} is behind the page to {upto:?}"));
        }
        let stored = model.line(room, epoch, seq);
        if stored != Some(line) {
            let words = format!("{user} {room}: {seq} of {epoch} is {line}, stored is {stored:?}");
            return model.fault(|| words);
        }
        if let Some(removal) = ear.removal(epoch, judged, model).filter(|at| *at < seq) {
            model.fault(|| {
                format!("{user} {room}: heard {seq} behind the removal {removal}, as of {judged}")
            });
        }
    }

    /// `lag` came.
    pub(crate) fn lagged(&mut self, ear: Ear<'_>, model: &mut Model) {
        if self.attached.take().is_none() {
            model.fault(|| format!("{} {}: lag without an attachment", ear.user, ear.room));
        }
    }

    /// `drop` came.
    pub(crate) fn dropped(&mut self, code: &str, ear: Ear<'_>, model: &mut Model) {
        let Ear { user, room, news_are_whole, lost, .. } = ear;
        let Some(attached) = self.attached.take() else {
            return model.fault(|| format!("{user} {room}: drop without an attachment"));
        };
        let Some(log) = model.log(room, attached.epoch) else { return };
        let removal = log.removals(user, attached.authorised).next();
        let right = match code {
            "forbidden" | "not_member" => {
                lost || match removal {
                    Some(_) => {
                        let mut removals = log.removals(user, attached.authorised);
                        !news_are_whole || removals.any(|at| at == attached.last)
                    }
                    None => false,
                }
            }
            "not_found" => model.now.get(room) != Some(&attached.epoch),
            _ => false,
        };
        if !right {
            model
                .fault(|| format!("{user} {room}: drop {code}, removal {removal:?}, {attached:?}"));
        }
    }

    /// In the end nobody hears a room from which they were removed.
    pub(crate) fn check_end(&self, ear: Ear<'_>, model: &mut Model) {
        let Some(attached) = self.attached.filter(|attached| attached.upto.is_none()) else {
            return;
        };
        if attached.over {
            model.fault(|| format!("{} {}: still there without a grant", ear.user, ear.room));
        }
        if let Some(removal) = ear.removal(attached.epoch, attached.judged, model) {
            model.fault(|| format!("{} {}: still there after {removal}", ear.user, ear.room));
        }
    }
}

impl Ear<'_> {
    /// Where an attachment that was authorised at `authorised` has to end. If news were lost it may have
    /// gone on if its user was let in again meanwhile, or is by their token.
    fn removal(&self, epoch: Epoch, authorised: Seq, model: &Model) -> Option<Seq> {
        let log = model.log(self.room, epoch)?;
        let excused = |removal| {
            log.came_back(self.user, removal)
                || model.may_read(self.user, self.room, epoch, removal)
        };
        let mut removals = log.removals(self.user, authorised);
        removals.find(|removal| self.news_are_whole || !excused(*removal))
    }
}
