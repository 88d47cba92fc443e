// A program of a user of the official TypeScript client, which speaks to the bridge as it comes.
//
//   node main.mjs work GROUP PID LOG   register every function, and run what comes until killed
//   node main.mjs run  GROUP PID LOG FLOW ID ARGUMENTS   run FLOW here, and print its result
//   node main.mjs rpc  GROUP PID LOG FLOW ID ARGUMENTS   have FLOW run by whoever is in GROUP
//   node main.mjs get  GROUP PID LOG - ID   wait for ID and print its result
//   node main.mjs many GROUP PID LOG - - CALLS   run all of [MODE, TARGET, FLOW, ID, ARGUMENTS], and
//                                            print their results; what fails is asked for again
//   node main.mjs plan GROUP PID LOG FLOW ID ARGUMENTS   run FLOW every second, as the schedule ID
//   node main.mjs unplan GROUP PID LOG - ID   delete the schedule
//
// LOG is a file to which every step appends a line. ARGUMENTS are JSON.
import { appendFileSync } from "node:fs";
import { Resonate } from "@resonatehq/sdk";

const [mode, group, pid, log, flow, id, args = "[]"] = process.argv.slice(2);
const TTL = Number(process.env.TTL_MS ?? 1500); // a killed worker's tasks are offered again after it
const PATIENCE = 5000; // ms for a result, then it is asked for again

const note = (...words) => appendFileSync(log, `${words.join(" ")}\n`);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const flows = {
  *sum(ctx, n) {
    let total = 0;
    for (let i = 0; i < n; i++) total += yield* ctx.run(flows.step, i);
    return total;
  },
  *step(ctx, i) {
    note("step", ctx.id, i);
    return i;
  },
  *fibonacci(ctx, n) {
    if (n < 2) return n;
    const left = yield* ctx.beginRun(flows.fibonacci, n - 1);
    const right = yield* ctx.beginRpc("fibonacci", n - 2, ctx.options({ target: group }));
    return (yield* left) + (yield* right);
  },
  *calls(ctx, n) {
    const pending = [];
    for (let i = 0; i < n; i++) {
      pending.push(yield* ctx.beginRpc("double", i, ctx.options({ target: group })));
    }
    const results = [];
    for (const each of pending) results.push(yield* each);
    return results;
  },
  *double(ctx, i) {
    return 2 * i;
  },
  *sleep(ctx, ms) {
    yield* ctx.sleep(ms);
    return "slept";
  },
  *approval(ctx) {
    const approved = yield* ctx.promise();
    note("asked", approved.id);
    return `approved: ${yield* approved}`;
  },
  *failing(ctx) {
    throw new Error("as asked");
  },
  // Its first pass is where a worker is killed: between two steps, and with the lease in hand.
  *interrupted(ctx, n) {
    const done = [];
    for (let i = 0; i < n; i++) {
      done.push(yield* ctx.run(flows.step, i));
      yield* ctx.sleep(100);
    }
    return done;
  },
  *order(ctx, there, n) {
    const done = [];
    for (let i = 0; i < n; i++) {
      yield* ctx.run(flows.entry, i);
      done.push(yield* ctx.rpc("double", i, ctx.options({ target: there })));
      yield* ctx.sleep(200);
    }
    return done;
  },
  async entry(ctx, i) {
    note("entry", ctx.id, i, Date.now(), pid);
    await pause(100); // so that it can be killed in its middle
    return i;
  },
  *parent(ctx) {
    yield* ctx.detached("double", 21, ctx.options({ target: group }));
    return "gone on";
  },
};

const resonate = new Resonate({ group, pid, ttl: TTL });
for (const [name, body] of Object.entries(flows)) resonate.register(name, body);

const print = (value) => console.log(`result ${JSON.stringify(value)}`);
const target = resonate.options({ target: group });

// What is there is waited for; what is not is begun. Whatever happens on the way, it is tried again.
async function ask([how, there, name, callId, given]) {
  const begin = how === "run" ? "beginRun" : "beginRpc";
  const options = how === "run" ? [] : [resonate.options({ target: there })];
  for (;;) {
    try {
      const handle = await resonate
        .get(callId)
        .catch(() => resonate[begin](callId, name, ...given, ...options));
      const late = pause(PATIENCE).then(() => Promise.reject(new Error("no result yet")));
      return await Promise.race([handle.result(), late]);
    } catch (error) {
      note("again", callId, error.message);
      await pause(200);
    }
  }
}

switch (mode) {
  case "work":
    note("working", pid);
    break;
  case "run":
    print(await resonate.run(id, flow, ...JSON.parse(args)));
    break;
  case "rpc":
    print(
      await resonate.rpc(id, flow, ...JSON.parse(args), target).catch((error) => ({
        error: error.message,
      })),
    );
    break;
  case "get":
    print(await (await resonate.get(id)).result());
    break;
  case "many":
    print(await Promise.all(JSON.parse(args).map(ask)));
    break;
  case "plan":
    await resonate.schedule(id, "* * * * * *", flow, ...JSON.parse(args), target);
    print("planned");
    break;
  case "unplan":
    await resonate.schedules.delete(id);
    print("deleted");
    break;
  default:
    throw new Error(`no mode ${mode}`);
}
if (mode !== "work") {
  await resonate.stop();
  process.exit(0);
}
