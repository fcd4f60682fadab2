//! Paces and days of a fleet: one script, so that whatever it answers was so at one moment.
//!
//! A pace is a bucket that fills by what each gateway's share gives, for the time in which that gateway had said that it
//! *stays*: lets the others use its share. Who is cut off goes by its own share, and only when its word has run out. So
//! the sum is never more than the rate, whoever sees whom. A day is the sum of what each gateway was given; each tells its part
//! with every call, so a server that forgot does not give the day twice.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use super::Redis;
use super::link::Run;
use crate::store::StoreError;
use crate::store::counts::{Claims, DayGrant, Grants, PaceGrant, STAY, ServerTime};

/// How long one call may take: what is given is good for a second.
const CLAIM_MAX: Duration = Duration::from_secs(1);

/// The server's time; tests give their own.
const CLOCK: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";

/// KEYS: who stays, paces, days. ARGV: name, until, longest stay (both microseconds), gateways, number of paces; of each pace the
/// share's interval in microseconds, burst, wanted; of each day limit, mine, target, seen.
/// Answers: the time, who is here, then of each pace how many and the microseconds to the next; of each day mine and total.
const CLAIM: &str = r"
local name, till, longest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local gateways, paces = tonumber(ARGV[4]), tonumber(ARGV[5])
local function whole(number) return string.format('%.0f', number) end
local known, stays, here, since = redis.call('HGETALL', KEYS[1]), {}, 0, now
for i = 1, #known, 2 do
  local from, to = string.match(known[i + 1], '^(%d+) (%d+)$')
  -- No word holds longer than words do: a server whose clock was ahead may have been replaced.
  from, to = tonumber(from), math.min(tonumber(to), now + longest)
  if known[i] == name then
    if to >= now then since = math.min(from, now) end
  elseif to < now - 3600000000 then
    redis.call('HDEL', KEYS[1], known[i])
  else
    table.insert(stays, {from, to})
    if to >= now then here = here + 1 end
  end
end
if till <= now then return {now, here} end
redis.call('HSET', KEYS[1], name, whole(since) .. ' ' .. whole(till))
table.insert(stays, {since, now})
here = here + 1
local answer = {now, here}
for p = 1, paces do
  local key, at = KEYS[1 + p], 5 + 3 * (p - 1)
  local share, burst, wanted = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local kept, left = redis.call('HMGET', key, 'at', 'left'), burst
  if kept[1] then
    local before, time = math.min(tonumber(kept[1]), now), 0
    for _, stay in ipairs(stays) do
      time = time + math.max(0, math.min(stay[2], now) - math.max(stay[1], before))
    end
    -- More gateways than there should be are not given more.
    time = math.min(time, gateways * (now - before))
    left = math.min(burst, tonumber(kept[2]) + time / share)
  end
  local given = math.min(wanted, math.floor(left))
  left = left - given
  redis.call('HSET', key, 'at', whole(now), 'left', string.format('%.17g', left))
  -- Forgotten when it would be full, even if one gateway alone had filled it.
  redis.call('PEXPIRE', key, whole(math.ceil(burst * share / 1000) + 60000))
  local wait = 0
  if left < 1 then wait = math.ceil((1 - left) * share / here) end
  table.insert(answer, given)
  table.insert(answer, wait)
end
for d = 1, #KEYS - 1 - paces do
  local key, at = KEYS[1 + paces + d], 5 + 3 * paces + 4 * (d - 1)
  local limit, mine, target, total = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), 0
  local parts = redis.call('HGETALL', key)
  local sum = 0
  for i = 1, #parts, 2 do
    local part = tonumber(parts[i + 1])
    if parts[i] == ':' then total = part
    elseif parts[i] == name then mine = math.max(mine, part)
    else sum = sum + part end
  end
  total = math.max(total, sum + mine, tonumber(ARGV[at + 4]))
  local more = math.max(0, math.min(target - mine, limit - total))
  redis.call('HSET', key, name, whole(mine + more), ':', whole(total + more))
  redis.call('PEXPIRE', key, '259200000')
  table.insert(answer, mine + more)
  table.insert(answer, total + more)
end
return answer
";

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(&format!("{CLOCK}{CLAIM}")));

/// The same at a time that is the last argument.
#[cfg(test)]
static SCRIPT_AT: LazyLock<Script> =
    LazyLock::new(|| Script::new(&format!("local now = tonumber(ARGV[#ARGV])\n{CLAIM}")));

impl Redis {
    pub(in crate::store) async fn claim(&self, claims: &Claims) -> Result<Grants, StoreError> {
        self.called(&SCRIPT, claims, None).await
    }

    #[cfg(test)]
    pub(in crate::store) async fn claim_at(&self, claims: &Claims, now: ServerTime) -> Result<Grants, StoreError> {
        self.called(&SCRIPT_AT, claims, Some(now)).await
    }

    async fn called(
        &self,
        script: &'static Script,
        claims: &Claims,
        now: Option<ServerTime>,
    ) -> Result<Grants, StoreError> {
        let (paces, days) = (claims.paces.len(), claims.days.len());
        let mut run = run_of(claims, self.0.shared.link.prefix(), self.0.shared.journal.gateway());
        run.arguments.extend(now.map(|now| now.0.to_string().into_bytes()));
        self.waiting(|shared| async move {
            let answer = tokio::time::timeout(CLAIM_MAX, shared.link.count(script, run)).await;
            let answer = answer.map_err(|_| away("no answer within 1 s"))??;
            read(&answer, paces, days).ok_or_else(|| away("the counts were answered with something else"))
        })
        .await
    }
}

fn away(because: &str) -> StoreError {
    StoreError::Away { because: because.to_owned() }
}

/// One hash tag for all of them: they are counted at one moment, on one node.
fn run_of(claims: &Claims, prefix: &str, gateway: &str) -> Run {
    let key = |kind: &str, name: &str| format!("{prefix}{{limits}}:{kind}{name}");
    let mut keys = vec![key("gateways", "")];
    let mut arguments: Vec<String> = vec![
        gateway.to_owned(),
        claims.until.0.to_string(),
        STAY.as_micros().to_string(),
        claims.gateways.to_string(),
        claims.paces.len().to_string(),
    ];
    for pace in &claims.paces {
        keys.push(key("pace:", &pace.name));
        let micros = pace.interval.as_nanos().div_ceil(1000);
        arguments.extend([micros.max(1).to_string(), pace.burst.to_string(), pace.wanted.to_string()]);
    }
    for day in &claims.days {
        keys.push(key("day:", &day.name));
        arguments.extend(day.numbers().map(|number| number.to_string()));
    }
    Run { keys, arguments: arguments.into_iter().map(String::into_bytes).collect() }
}

/// `None` when it is not what the script answers.
fn read(answer: &[i64], paces: usize, days: usize) -> Option<Grants> {
    let (&[at, here], rest) = answer.split_first_chunk::<2>()?;
    let whole = |number: i64| u64::try_from(number).ok();
    let mut grants = Grants { at: ServerTime(at), here: whole(here)?, paces: Vec::new(), days: Vec::new() };
    if rest.is_empty() {
        return Some(grants);
    }
    let (pairs, []) = rest.as_chunks::<2>() else { return None };
    if pairs.len() != paces + days {
        return None;
    }
    let (of_paces, of_days) = pairs.split_at_checked(paces)?;
    for [count, wait] in of_paces {
        let next = Duration::from_micros(whole(*wait)?);
        grants.paces.push(PaceGrant { count: u32::try_from(*count).ok()?, next });
    }
    for [mine, total] in of_days {
        grants.days.push(DayGrant { mine: whole(*mine)?, total: whole(*total)? });
    }
    Some(grants)
}
