//! What can happen to a machine, and how four bytes say so.

/// The most operations of one story.
const MAX_OPS: usize = 96;

/// One thing that happens, to a machine or in the world around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Somebody wants a token.
    Demand {
        /// A person is there.
        welcome: bool,
        /// Log in anew.
        fresh: bool,
        /// Discovery only.
        inspect: bool,
        /// Which of [`NEEDS`].
        need: u8,
    },
    /// A faithful host performs all that is asked for, until nothing is.
    Run,
    /// A faithful host answers one action.
    Step,
    /// The exchange gets another answer than the true one.
    Twist(u8, u8),
    /// The action is performed, and its answer kept back.
    Delay,
    /// An answer that was kept back arrives.
    Deliver(u8),
    /// The action is never answered.
    Drop,
    /// Something comes to the callback address.
    Redirect(u8),
    /// The listener or the browser fails, or the person only gets the link.
    Prompt(u8),
    /// A tick before its time.
    Tick,
    /// The host says that it is about to end, and goes on.
    Flush,
    /// Both clocks go on.
    Advance(u8),
    /// Somebody sets the wall clock.
    SetWall(u8),
    /// Both clocks go on to the deadline, and it is told.
    ToDeadline,
    /// The demander of an attempt has lost interest.
    Cancel(u8),
    /// Log out, here alone.
    Forget,
    /// Log out, at the servers too.
    Logout,
    /// The host reports a refusal, with this status and these challenges.
    Challenge(u8, u8),
    /// The host calls the MCP server with the token at hand.
    Call(u8),
    /// Servers or person change.
    World(u8),
    /// The answer goes to a machine of another server.
    CrossFeed,
    /// The program is killed and started again.
    Restart,
}

/// The operations that callers need tokens for; an empty name is the server as a whole.
pub const NEEDS: [(&str, &str); 3] = [("", ""), ("write_note", ""), ("admin", "notes:admin")];

/// The story that bytes tell: which of two programs something happens to, and what.
pub fn story(bytes: &[u8]) -> impl Iterator<Item = (usize, Op)> {
    bytes.as_chunks::<4>().0.iter().take(MAX_OPS).map(|op| (usize::from(op[0] >= 192), decode(op)))
}

fn decode(&[kind, a, b, _]: &[u8; 4]) -> Op {
    // How often each comes decides how deep random stories get.
    match kind % 64 {
        0..8 => {
            Op::Demand { welcome: a % 4 != 0, fresh: a % 16 == 15, inspect: a % 16 == 14, need: b }
        }
        8..16 => Op::Run,
        16..24 => Op::Step,
        24..29 => Op::Twist(a, b),
        29..32 => Op::Delay,
        32..35 => Op::Deliver(a),
        35..37 => Op::Drop,
        37..41 => Op::Redirect(a),
        41..43 => Op::Prompt(a),
        43 if a % 2 == 1 => Op::Flush,
        43 => Op::Tick,
        44..47 => Op::Advance(a),
        47 => Op::SetWall(a),
        48..50 => Op::ToDeadline,
        50..52 => Op::Cancel(a),
        52 if a % 2 == 0 => Op::Forget,
        52 => Op::Logout,
        53..55 => Op::Challenge(a, b),
        55..59 => Op::Call(a),
        59..62 => Op::World(a),
        62 => Op::CrossFeed,
        _ => Op::Restart,
    }
}
