import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Repeat, StoreError, type StoreErrorKind } from "../drivers/driver.ts";
import type { BreakerState } from "../src/telemetry/events.ts";
import { Breaker, type BreakerOptions } from "../src/wire/breaker.ts";

function setUp(options: BreakerOptions = {}) {
  const clock = { now: 0 };
  const changes: [state: BreakerState, error?: StoreError][] = [];
  const breaker = new Breaker(
    options,
    () => clock.now,
    (state, error) => changes.push(error ? [state, error] : [state]),
  );
  const fails = (times: number, kind: StoreErrorKind = "timeout", repeat: Repeat = "none") => {
    for (let i = 0; i < times; i++) if (breaker.allows()) breaker.fail(failure(kind, repeat));
  };
  return { clock, changes, breaker, fails, states: () => changes.map(([state]) => state) };
}

function failure(kind: StoreErrorKind = "timeout", repeat: Repeat = "none"): StoreError {
  return new StoreError(kind, `a ${kind} failure`, { repeat });
}

describe("Breaker", () => {
  it("allows everything and reports no change when nothing fails", () => {
    const { breaker, changes } = setUp();
    for (let i = 0; i < 100; i++) {
      assert.equal(breaker.allows(), true);
      breaker.succeed();
    }
    assert.equal(breaker.state, "closed");
    assert.deepEqual(changes, []);
  });

  it("opens when a fifth send in a row fails", () => {
    const { breaker, fails, changes } = setUp();
    fails(4);
    breaker.succeed();
    fails(4);
    assert.equal(breaker.state, "closed");
    const last = failure("connection");
    breaker.fail(last);
    assert.equal(breaker.state, "open");
    assert.equal(breaker.allows(), false);
    assert.deepEqual(changes, [["open", last]]);
  });

  it("lets one probe through when its pause is over, and closes when that is answered", () => {
    const { breaker, fails, clock, states } = setUp({ failures: 1, openFor: 100 });
    fails(1);
    clock.now = 99;
    assert.equal(breaker.allows(), false);
    clock.now = 100;
    assert.equal(breaker.state, "open");
    assert.equal(breaker.allows(), true);
    assert.equal(breaker.state, "half-open");
    assert.equal(breaker.allows(), false);
    breaker.succeed();
    assert.equal(breaker.state, "closed");
    assert.equal(breaker.allows(), true);
    assert.deepEqual(states(), ["open", "half-open", "closed"]);
  });

  it("stays open twice as long when a probe fails, up to maxOpenFor, until it has closed", () => {
    const { breaker, clock } = setUp({ failures: 1, openFor: 100, maxOpenFor: 350 });
    const openFor = () => {
      breaker.fail(failure());
      const start = clock.now;
      while (!breaker.allows()) clock.now++;
      return clock.now - start;
    };
    assert.deepEqual([openFor(), openFor(), openFor(), openFor()], [100, 200, 350, 350]);
    breaker.succeed();
    assert.equal(openFor(), 100);
  });

  it("lets another probe through when the outcome of one is not known within openFor", () => {
    const { breaker, fails, clock, states } = setUp({ failures: 1, openFor: 100 });
    fails(1);
    clock.now = 100;
    assert.equal(breaker.allows(), true);
    clock.now = 199;
    assert.equal(breaker.allows(), false);
    clock.now = 200;
    assert.equal(breaker.allows(), true);
    assert.equal(breaker.allows(), false);
    assert.deepEqual(states(), ["open", "half-open"]);
    // The first one's failure comes after all: the second decides.
    breaker.fail(failure(), 100);
    assert.equal(breaker.state, "half-open");
    breaker.fail(failure(), 200);
    assert.equal(breaker.state, "open");
  });

  it("does not stay open when sends from before fail late", () => {
    const { breaker, fails, clock, states } = setUp({ failures: 3, openFor: 100 });
    fails(3);
    clock.now = 50;
    for (let i = 0; i < 10; i++) breaker.fail(failure(), 0);
    clock.now = 100;
    assert.equal(breaker.allows(), true);
    for (let i = 0; i < 10; i++) breaker.fail(failure(), 0);
    assert.equal(breaker.state, "half-open");
    clock.now = 110;
    breaker.succeed();
    for (let i = 0; i < 10; i++) breaker.fail(failure(), 105);
    assert.deepEqual(states(), ["open", "half-open", "closed"]);
  });

  it("closes when a send from before is answered late", () => {
    const { breaker, fails, states } = setUp({ failures: 2 });
    fails(2);
    breaker.succeed();
    assert.equal(breaker.allows(), true);
    assert.deepEqual(states(), ["open", "closed"]);
  });

  it("counts one failure when a connection is lost, and one for each timeout", () => {
    const { breaker, clock } = setUp({ failures: 2 });
    clock.now = 10;
    for (let i = 0; i < 20; i++) breaker.fail(failure("connection"), i / 10);
    assert.equal(breaker.state, "closed");
    breaker.succeed();
    breaker.fail(failure("timeout"), 11);
    breaker.fail(failure("timeout"), 11);
    assert.equal(breaker.state, "open");
  });

  it("counts a failure when the store is away, and an answer when it refuses", () => {
    const opened = ([kind, repeat]: [StoreErrorKind, Repeat?]) => {
      const { breaker, fails } = setUp({ failures: 3 });
      fails(2);
      fails(1, kind, repeat);
      fails(1);
      return breaker.state;
    };
    for (const kind of ["connection", "timeout", "protocol"] as const) assert.equal(opened([kind]), "open", kind);
    assert.equal(opened(["limit", "all"]), "open");
    assert.equal(opened(["limit"]), "closed");
    assert.equal(opened(["auth"]), "closed");
    assert.equal(opened(["command"]), "closed");
    // Of a closed client nothing is learnt: the failure behind it is the third.
    assert.equal(opened(["closed"]), "open");
    const { breaker, fails } = setUp({ failures: 1 });
    fails(9, "closed");
    assert.equal(breaker.state, "closed");
  });

  it("closes when a store that is up refuses a probe", () => {
    const { breaker, fails, clock } = setUp({ failures: 1, openFor: 100 });
    fails(1);
    clock.now = 100;
    fails(1, "auth");
    assert.equal(breaker.state, "closed");
  });

  it("error says how often the store failed and when it is tried again when the breaker is open", () => {
    const { breaker, fails, clock } = setUp({ failures: 3, openFor: 100 });
    fails(3);
    const first = breaker.error();
    assert.equal(first.name, "StoreError");
    assert.equal(first.kind, "connection");
    assert.equal(first.repeat, "none");
    assert.match(first.message, /failed 3 times in a row.*100 ms/);
    assert.equal((first.cause as Error).message, "a timeout failure");
    assert.equal(breaker.error(), first);
    clock.now = 100;
    assert.equal(breaker.allows(), true);
    assert.equal(breaker.error(), first);
    breaker.fail(failure("connection"));
    assert.notEqual(breaker.error(), first);
    assert.match(breaker.error().message, /failed 4 times in a row.*200 ms/);
  });

  it("names the option when one is out of its range", () => {
    const bad: [keyof BreakerOptions, unknown[]][] = [
      ["failures", [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "5", null]],
      ["openFor", [0, -1, Number.NaN, Number.POSITIVE_INFINITY, "5", null]],
      ["maxOpenFor", [0, 999, Number.NaN, Number.POSITIVE_INFINITY, "5000", null]],
    ];
    for (const [name, values] of bad) {
      for (const value of values) {
        const received = typeof value === "string" ? `"${value}"` : value;
        const message = new RegExp(`^Cannot set ${name} of the breaker: received ${received}, expected `);
        assert.throws(() => setUp({ [name]: value }), { name: "RangeError", message });
      }
    }
    setUp({ failures: 1, openFor: 0.5, maxOpenFor: 0.5 });
    setUp({ openFor: 60_000 });
  });

  it("does what a simple model does when anything happens in any order", () => {
    const kinds: [StoreErrorKind, Repeat][] = [
      ["connection", "idempotent"],
      ["timeout", "none"],
      ["limit", "all"],
      ["protocol", "none"],
      ["limit", "none"],
      ["auth", "none"],
      ["command", "all"],
      ["closed", "none"],
    ];
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant({ do: "send" as const }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("answer" as const), which: fc.nat() }) },
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant("fail" as const),
          which: fc.nat(),
          kind: fc.oneof({ weight: 3, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: fc.nat(7) }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("vanish" as const), which: fc.nat() }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 60 }) }) },
    );
    const options = fc.record({ failures: fc.integer({ min: 1, max: 4 }), openFor: fc.integer({ min: 5, max: 40 }) });
    fc.assert(
      fc.property(options, fc.array(step, { maxLength: 120 }), (options, steps) => {
        const { breaker, clock, states } = setUp({ ...options, maxOpenFor: 100 });
        const model = new Model(options.failures, options.openFor, 100);
        let flying: { id: number; sent: number }[] = [];
        const land = (which: number) => {
          const send = flying[which % flying.length];
          flying = flying.filter((other) => other !== send);
          return send;
        };
        for (const [id, step] of steps.entries()) {
          clock.now += step.do === "wait" ? step.ms : 1;
          if (step.do === "send") {
            const allowed = breaker.allows();
            assert.equal(allowed, model.send(id, clock.now));
            if (allowed) flying.push({ id, sent: clock.now });
          } else if (step.do !== "wait") {
            const send = land(step.which);
            if (!send || step.do === "vanish") continue;
            if (step.do === "answer") {
              breaker.succeed();
              model.answer(id);
            } else {
              const [kind, repeat] = kinds[step.kind] as [StoreErrorKind, Repeat];
              breaker.fail(failure(kind, repeat), send.sent);
              if (step.kind < 4) model.fail(id, send.id, clock.now, kind);
              else if (kind !== "closed") model.answer(id);
            }
          }
          assert.equal(breaker.state, model.states.at(-1) ?? "closed");
        }
        assert.deepEqual(states(), model.states);
      }),
      { numRuns: 2000 },
    );
  });
});

/** The breaker by the order of what happened: each step has a number, and time only says when it may be tried again. */
class Model {
  readonly states: BreakerState[] = [];
  readonly limit: number;
  readonly openFor: number;
  readonly maxOpenFor: number;
  run = 0;
  openings = 0;
  openedAt = 0;
  probe: { id: number; at: number } | undefined;
  closedAt = -1;
  lostAt = -1;

  constructor(limit: number, openFor: number, maxOpenFor: number) {
    this.limit = limit;
    this.openFor = openFor;
    this.maxOpenFor = maxOpenFor;
  }

  get state(): BreakerState {
    return this.states.at(-1) ?? "closed";
  }

  send(id: number, now: number): boolean {
    if (this.state === "closed") return true;
    const pause = Math.min(this.openFor * 2 ** (this.openings - 1), this.maxOpenFor);
    const free = this.probe ? this.probe.at + this.openFor : this.openedAt + pause;
    if (now < free) return false;
    if (!this.probe) this.states.push("half-open");
    this.probe = { id, at: now };
    return true;
  }

  answer(id: number): void {
    if (this.state !== "closed") {
      this.states.push("closed");
      this.closedAt = id;
    }
    this.run = 0;
    this.openings = 0;
    this.probe = undefined;
  }

  fail(id: number, send: number, now: number, kind: StoreErrorKind): void {
    if (this.state === "open") return;
    if (this.state === "half-open") {
      if (send !== this.probe?.id) return;
    } else {
      if (send < this.closedAt || send < this.lostAt) return;
      this.run++;
      if (kind !== "timeout") this.lostAt = id;
      if (this.run < this.limit) return;
    }
    this.openings++;
    this.openedAt = now;
    this.probe = undefined;
    this.states.push("open");
  }
}
