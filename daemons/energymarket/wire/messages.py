"""The varlink interfaces of the market and its supervisor, as the text that introspection answers.

Free of NumPy and msgspec: the control program shares exactly these definitions with the daemons.
Energy in Wh, money in µ€, prices in µ€/kWh, intensity in thousandths.
"""

from __future__ import annotations

from typing import Final

TRADE: Final = "io.energymarket.Trade"
CONTROL: Final = "io.energymarket.Control"
SUPERVISOR: Final = "io.energymarket.Supervisor"

TRADE_SOCKET: Final = "trade"
CONTROL_SOCKET: Final = "control"
SUPERVISOR_SOCKET: Final = "supervisor"

TRADE_INTERFACE: Final = """\
# Homes trade here. Identity is the lease that Join gives to this connection.
interface io.energymarket.Trade

# A step of market time: sent when a slot opens, when its exchange ends, at the gate, at its commit.
type Notice (
  slot: int,
  epoch: int,
  phase: (starting, exchange, trade, clearing, ended, stopped),
  committed_slot: ?int,
  price_ueur_per_kwh: int,
  import_ueur_per_kwh: int,
  export_ueur_per_kwh: int
)

# What was bought or sold: provisional until the reading of the slot is in.
type Receipt (
  receipt: string,
  home: int,
  slot: int,
  energy_wh: int,
  price_ueur_per_kwh: int,
  total_ueur: int
)

# The prices of the open slot.
method Price() -> (
  slot: int,
  epoch: int,
  phase: string,
  price_ueur_per_kwh: int,
  import_ueur_per_kwh: int,
  export_ueur_per_kwh: int,
  gift_fee_ueur_per_kwh: int,
  gate_in_ms: int,
  weather_stale: bool
)

# Lease the homes first .. first + count - 1 to this connection. The answer names the last slot of
# which the ledger holds a batch of them, with its receipt (packed, base64), if there is one.
# handed_slot is the open slot if some of these homes are in it already, in a batch of this range or of
# another: what it says of gifts, others have gone by, so do not live the slot anew. Join again when it
# is committed, for its receipt. first_slot is where the ledger begins: homes that it has heard nothing
# of keep what they have lived through since then.
method Join(first: int, count: int, name: ?string) -> (
  lease: string,
  homes: int,
  committed_slot: ?int,
  batch_slot: ?int,
  receipt: ?string,
  handed_slot: ?int,
  first_slot: int
)

# Buy or sell for a leased home in the open slot. The same id again gets the same receipt.
method Buy(home: int, energy_wh: int, id: string) -> (receipt: Receipt)
method Sell(home: int, energy_wh: int, id: string) -> (receipt: Receipt)

# What a metered home says of the reading in its batch: how many seconds of it are estimated, by how much it
# corrects what was said before, and when its meter was heard last (UTC seconds; null: never).
type MeterReading (home: int, meter: string, estimated_s: int, corrected_wh: int, heard_s: ?int)

# Hand in the batch of a slot: packed bytes, inline as base64 (data) or in the sealed memory file
# whose place among the passed descriptors is named. The answer comes when the slot is committed.
# shed counts offers that found the queue full until the end of the exchange.
method Submit(
  id: string,
  slot: int,
  epoch: int,
  data: ?string,
  descriptor: ?int,
  shed: ?int,
  readings: ?[]MeterReading
) -> (
  slot: int,
  receipt: ?string,
  descriptor: ?int
)

# In lockstep the gate waits for every home that is joined. Those of this connection hand in nothing in the
# slot: their next batch carries the gap.
method Pass(slot: int, epoch: int) -> ()

# A notice now, and one at every step of market time.
method Watch() -> (notice: Notice)

error GateClosed (slot: int, open_slot: ?int)
# In lockstep: the slot was open in an earlier epoch; somebody died, and it is run again.
error TakenBack (slot: int, epoch: int)
error NotOpen (phase: string)
error OfferUnknown (giver: int, index: int)
error NotJoined (home: int)
error HomesTaken (first: int, count: int)
error UnknownHome (home: int, homes: int)
error BatchRefused (reason: string, detail: string)
# With the reason IdTwice: slot and energy (above zero: a sale) of the order that has the id.
error OrderRefused (reason: string, detail: string, slot: ?int, energy_wh: ?int)
error QuotaExceeded (what: string, limit: int)
error Stopping ()
error StoreFailed (reason: string)
"""

CONTROL_INTERFACE: Final = """\
# Operators look and steer here. Changing calls are for the operator's role.
interface io.energymarket.Control

type Term (name: string, value_ueur_per_kwh: int)
type Event (
  kind: string,
  intensity_permille: int,
  origin: string,
  from_slot: int,
  until_slot: ?int
)

# What acted on a slot. A sealed slot keeps the kind and the sum of its intensities: the rest is null.
type ActedEvent (
  kind: string,
  intensity_permille: int,
  origin: ?string,
  from_slot: ?int,
  until_slot: ?int
)

# One slot of the ledger, or the open one.
type PriceRow (
  slot: int,
  time: string,
  price_ueur_per_kwh: int,
  import_ueur_per_kwh: int,
  export_ueur_per_kwh: int,
  gap: bool,
  weather_stale: bool
)

# A home's last committed slot and its account.
type HomeRow (
  home: int,
  policy: int,
  joined: bool,
  net_wh: int,
  given_wh: int,
  received_wh: int,
  sold_wh: int,
  bought_wh: int,
  imbalance_wh: int,
  money_ueur: int,
  balance_ueur: int
)

# A slot of the ledger: hash and seal in hexadecimal; body_bytes is null once the detail is compacted.
type SealedSlot (
  slot: int,
  price_ueur_per_kwh: int,
  import_ueur_per_kwh: int,
  export_ueur_per_kwh: int,
  gap: bool,
  weather_stale: bool,
  totals: string,
  meta: string,
  hash: string,
  seal: string,
  body_at: int,
  body_bytes: ?int
)

type CompactedStretch (first_slot: int, last_slot: int, digest: string, body_at: int, body_bytes: int)

# A single order that is remembered: energy and total are above zero for a sale.
type OrderRow (
  home: int,
  id: string,
  slot: int,
  energy_wh: int,
  price_ueur_per_kwh: int,
  total_ueur: int,
  receipt: string
)

# One screen of the market, answered without waiting for its work. Of it: state, market (pid, external_pid,
# generation: how often a market has opened this ledger), snapshot (the last that Watch has sent), late_ms
# (how overdue the next slot is), homes and homes_joined, queue (messages, bytes, limit_bytes), transactions,
# counts since the start, ledger.bytes (the file and its write-ahead log).
method Status() -> (status: object)

method Price(last: ?int) -> (current: PriceRow, prices: []PriceRow)

# The price of a slot term by term (the open one without a slot). The terms add up to the unclipped
# price. inertia_of_events is what the inertia term still holds of earlier events.
method Explain(slot: ?int) -> (
  slot: int,
  time: string,
  previous_ueur_per_kwh: int,
  gamma: float,
  terms: []Term,
  unclipped_ueur_per_kwh: int,
  price_ueur_per_kwh: int,
  inertia_of_events: []Term,
  events: []ActedEvent
)

method Homes(first: ?int, count: ?int) -> (homes: []HomeRow, total: int)
method Weather() -> (weather: object)
method Events() -> (kinds: []string, active: []Event)
method Raise(kind: string, intensity_permille: ?int, slots: ?int) -> (event: Event)
method Clear(kind: string) -> (cleared: int, from_slot: int)

# One slot of the ledger, row by row.
method Ledger(slot: ?int, first: ?int, count: ?int) -> (ledger: object)

# Single orders by receipt, or by the id that their home gave them.
method Orders(what: string) -> (orders: []OrderRow)

# Sealed slots as they lie on the disk, for the checker and for exports: as many as fit, from first
# on; next is where to go on. Their bodies stand back to back in the sealed memory file that is passed.
method Slots(first: ?int, last: ?int) -> (slots: []SealedSlot, next: ?int, descriptor: int)

# Stretches whose detail has been compacted to sums per home: the same way.
method Compacted() -> (stretches: []CompactedStretch, descriptor: int)

# What a report reads and a forecast goes on from: the first and the last committed slot, and the one that
# follows (which may be open: then its prices are known). scenario and state are directories where the market
# runs: its compiled scenario, and the state of all, with homes/ in it. market, events and price are JSON, as
# the ledger keeps them; weather is the newest sample, in the units of the board.
method Present() -> (
  first_slot: ?int,
  slot: ?int,
  next_slot: int,
  scenario_hash: string,
  scenario: string,
  state: string,
  market: string,
  events: string,
  price: string,
  open: ?object,
  weather: ?object
)

# Recompute the hash chain and the seals from the disk.
method Verify(first: ?int, last: ?int) -> (
  ok: bool,
  slots: int,
  compacted: int,
  first_slot: ?int,
  last_slot: ?int,
  hash: string,
  problem: ?string
)

method Resources() -> (resources: []object)

# Read the coefficients of the price again and use them from the next slot on, which is from_slot. When
# this answers they are durable.
method Reload(text: ?string) -> (changed: []string, needs_restart: []string, from_slot: int)

# Close the gate, settle, say goodbye. Answers when the last slot is durable.
method Stop() -> (slot: ?int)

# A snapshot now, and one at every commit: its slot's prices, terms, events, weather and totals (with homes,
# gifts and void_claims); homes, homes_in and batches that made the gate; orders, refusals (of batches, 100
# at most), late_batches and shed_offers of the slot; lateness_us, by which it opened late; speed and time.
# With phases also one when a slot opens, when its exchange ends, and when homes join or leave.
method Watch(phases: ?bool) -> (snapshot: object)

error QuotaExceeded (what: string, limit: int)
error NoSuchSlot (slot: int, first: ?int, last: ?int)
error EventRefused (reason: string)
error NoSuchKind (kind: string, kinds: []string)
error ReloadRefused (problems: []string)
error PermissionDenied (needs: string)
error StoreFailed (reason: string)
error Stopping ()
"""

SUPERVISOR_INTERFACE: Final = """\
# Who runs here: the units of `energyctl up`, where no systemd could be asked.
interface io.energymarket.Supervisor

# unit: its name under systemd. state: starting, ready, stopping, waiting (dead, and started again in
# restart_in_ms), left (without an error, a moment ago), ended (with the run), stopped (by an operator),
# failed (for good; why says how). pid: 0 without a process. age_ms: in this state. starts: those that the
# limit counts, starts_max within starts_window_ms. silent_ms: since the last sign of life, of a unit with a
# watchdog.
type Unit (
  unit: string,
  name: string,
  state: string,
  pid: int,
  restarts: int,
  age_ms: int,
  says: string,
  why: string,
  code: ?int,
  restart_in_ms: ?int,
  starts: int,
  starts_max: int,
  starts_window_ms: int,
  silent_ms: ?int
)

method Units() -> (units: []Unit, phase: string)

# Units are named as under systemd, with or without .service, or by their short name. Each method answers when
# it is carried out: all of them serve, have stopped, or have failed. Without units all are meant: Stop then
# ends the run and answers at once, Restart ends all daemons in order and starts them again with the same
# scenario. Start also gives another chance to what has failed. Only for the run's own user, and root.
method Start(units: ?[]string) -> (units: []Unit)
method Stop(units: ?[]string) -> (units: []Unit)
method Restart(units: ?[]string) -> (units: []Unit)

# The units now, and again whenever one is in another state, has another process, or says something else.
method Watch() -> (units: []Unit, phase: string)

error QuotaExceeded (what: string, limit: int)
error NoSuchUnit (unit: string, units: []string)
error PermissionDenied (needs: string)
error Stopping ()
"""
