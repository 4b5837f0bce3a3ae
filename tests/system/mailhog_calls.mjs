// Every call of the npm packages mailhog and cypress-mailhog, against the server named on the command line.
// Prints one JSON object: "passed" or the error, by the name of the call. The server has the messages "one"
// (with a.bin attached) and "two". Cypress itself is not here: `cy` and `Cypress` are what the commands use of it.
import { createRequire } from "node:module";

const [url] = process.argv.slice(2);
const require = createRequire(`${process.cwd()}/`);
const { hostname, port } = new URL(url);
const mailhog = require("mailhog")({ host: hostname, port });
const results = {};

async function call(name, make, good = () => true) {
  try {
    const answer = await make();
    results[name] = good(answer) ? "passed" : `unexpected: ${JSON.stringify(answer)}`.slice(0, 500);
    return answer;
  } catch (error) {
    results[name] = String(error).slice(0, 500);
  }
}

const commands = {};
globalThis.Cypress = {
  env: (name) => (name === "mailHogUrl" ? url : undefined),
  config: () => undefined,
  Commands: { add: (name, ...rest) => { commands[name] = rest.at(-1); } },
};
globalThis.cy = {
  request: async ({ method, url, failOnStatusCode }) => {
    const response = await fetch(url, { method });
    if (!response.ok && failOnStatusCode !== false) throw new Error(`${response.status} ${await response.text()}`);
    const text = await response.text();
    const json = response.headers.get("content-type")?.includes("json");
    return { status: response.status, body: json ? JSON.parse(text) : text };
  },
  wrap: (value) => Object.assign(Promise.resolve(value), { its: (name) => Promise.resolve(value[name]) }),
  verifyUpcomingAssertions: (value) => value,
};
require("cypress-mailhog");
const { mhGetAllMails, mhGetMailsBySubject, mhGetMailsByRecipient, mhGetMailsBySender, mhSearchMails } = commands;

const subjects = (found) => found.map((one) => one.Content.Headers.Subject[0]).sort().join();
await call("mhGetAllMails", () => mhGetAllMails(), (found) => subjects(found) === "one,two");
await call("mhGetMailsBySubject", () => mhGetMailsBySubject("one"), (found) => subjects(found) === "one");
await call("mhGetMailsByRecipient", () => mhGetMailsByRecipient("bob@example.org"), (found) => found.length === 2);
await call("mhGetMailsBySender", () => mhGetMailsBySender("ada@example.com"), (found) => found.length === 2);
await call("mhSearchMails", () => mhSearchMails("containing", "two"), (found) => subjects(found) === "two");
const [mail] = (await mhGetMailsBySubject("one")) ?? [];
await call("mhGetSubject", () => commands.mhGetSubject(mail), (found) => found === "one");
await call("mhGetBody", () => commands.mhGetBody(mail), (found) => found.includes("text"));
await call("mhGetSender", () => commands.mhGetSender(mail), (found) => found === "ada@example.com");
await call("mhGetRecipients", () => commands.mhGetRecipients(mail), (found) => found.join() === "bob@example.org");
await call("mhGetAttachments", () => commands.mhGetAttachments(mail), (found) => found.join() === '"a.bin"');
await call("mhGetJimMode", () => commands.mhGetJimMode(), (found) => found === false);

await call("messages", () => mailhog.messages(0, 10), (found) => found.total === 2 && found.items[0].subject === "two");
await call("messages, second", () => mailhog.messages(1, 1), (found) => found.count === 1 && found.items[0].subject === "one");
await call("search", () => mailhog.search("tw", "containing"), (found) => found.count === 1);
const one = await call("latestContaining", () => mailhog.latestContaining("one"), (found) => found.text.trim() === "text");
await call("latestTo", () => mailhog.latestTo("bob@example.org"), (found) => found.to === "bob@example.org");
await call("latestFrom", () => mailhog.latestFrom("ada@example.com"), (found) => found.from === "Ada <ada@example.com>");
await call("attachments", async () => one.attachments, ([file]) => file.name === "a.bin" && file.Body.trim() === "ZGF0YQ==");
await call("deleteMessage", () => mailhog.deleteMessage(one.ID), (answer) => answer.statusCode === 200);
await call("messages after deleteMessage", () => mailhog.messages(), (found) => found.total === 1);
await call("deleteAll", () => mailhog.deleteAll(), (answer) => answer.statusCode === 200);
await call("mhDeleteAll", () => commands.mhDeleteAll(), (answer) => answer.status === 200);
await call("messages after deleteAll", () => mailhog.messages(), (found) => found.total === 0);
console.log(JSON.stringify(results));
