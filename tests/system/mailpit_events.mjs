// The events of the npm package mailpit-api, against the server named on the command line. Prints one JSON
// object: "passed" or the error, by the type of the event.
import { MailpitClient } from "mailpit-api";

const [url] = process.argv.slice(2);
const mailpit = new MailpitClient(url);
const results = {};
const all = [];
const told = new Set();

async function event(type, cause, good) {
  const waiting = mailpit.waitForEvent(type, 60000);
  try {
    const cause_answer = await cause();
    const { Type, Data } = await waiting;
    results[type] = Type === type && good(Data, cause_answer) ? "passed" : `unexpected: ${JSON.stringify(Data)}`;
    return Data;
  } catch (error) {
    results[type] = String(error).slice(0, 500);
  }
}

const send = () => mailpit.sendMessage({
  From: { Email: "ada@example.com", Name: "Ada" },
  To: [{ Email: "bob@example.org" }],
  Subject: "Told",
  Text: "Hello",
});
const unsubscribe = mailpit.onEvent("*", ({ Type, Data }) => all.push(Type) && told.add(Data?.ID));
// the package does not tell when it is connected: then it tells of what is sent, and at last of the last
const pause = () => new Promise((resolve) => setTimeout(resolve, 500));
const sent = [];
for (; !sent.some((id) => told.has(id)); await pause()) sent.push((await send()).ID);
while (!told.has(sent.at(-1))) await pause();
const { ID } = await event("new", send, (data, sent) => data.ID === sent.ID && data.Subject === "Told");
await event("stats", send, (data) => data.Total > 0 && data.Unread > 0);
await event("update", () => mailpit.setReadStatus({ IDs: [ID], Read: true }), (data) => data.ID === ID && data.Read);
await mailpit.setTags({ IDs: [ID], Tags: ["red"] });
await event("prune", () => mailpit.deleteTag("red"), (data) => data === null);
await event("delete", () => mailpit.deleteMessages({ IDs: [ID] }), (data) => data.ID === ID);
await event("truncate", () => mailpit.deleteMessages(), (data) => data === null);
unsubscribe();
results["*"] = ["new", "stats", "update", "prune", "delete", "truncate"].every((type) => all.includes(type)) ? "passed" : all.join();
mailpit.disconnect();
console.log(JSON.stringify(results));
