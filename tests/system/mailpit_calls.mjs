// Every call of the npm package mailpit-api, against the server named on the command line. Prints one JSON
// object: "passed" or the error, by the name of the call.
import { MailpitClient } from "mailpit-api";

const [url] = process.argv.slice(2);
const mailpit = new MailpitClient(url);
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

const sent = await call("sendMessage", () => mailpit.sendMessage({
  From: { Email: "ada@example.com", Name: "Ada" },
  To: [{ Email: "bob@example.org", Name: "Bob" }],
  Subject: "From JavaScript",
  Text: "Your code is 481 206",
  HTML: "<p>Your code is <b>481 206</b></p>",
  Tags: ["js"],
  Attachments: [{ Content: Buffer.from("data").toString("base64"), Filename: "a.txt", ContentType: "text/plain" }],
}), (answer) => answer.ID);
const id = sent?.ID;
await call("waitForMessage", () => mailpit.waitForMessage({ query: "subject:javascript" }), (m) => m.ID === id);
await call("waitForMessages", () => mailpit.waitForMessages({ query: "tag:js" }), (m) => m.messages_count === 1);
await call("listMessages", () => mailpit.listMessages(), (m) => m.messages[0].ID === id);
await call("searchMessages", () => mailpit.searchMessages({ query: 'body:"481 206"' }), (m) => m.messages_count === 1);
const message = await call("getMessageSummary", () => mailpit.getMessageSummary(),
  (m) => m.Subject === "From JavaScript" && m.Attachments.length === 1 && m.Tags[0] === "js");
await call("getMessageHeaders", () => mailpit.getMessageHeaders(id), (h) => h.Subject[0] === "From JavaScript");
await call("getMessageAttachment", () => mailpit.getMessageAttachment(id, message.Attachments[0].PartID), (b) => b.size === 4);
await call("getMessageSource", () => mailpit.getMessageSource(id), (text) => text.includes("Subject: From JavaScript"));
await call("renderMessageHTML", () => mailpit.renderMessageHTML(id), (text) => text.includes("<b>481 206</b>"));
await call("renderMessageText", () => mailpit.renderMessageText(id), (text) => text.includes("481 206"));
await call("setReadStatus", () => mailpit.setReadStatus({ IDs: [id], Read: false }), (text) => text === "ok");
await call("setTags", () => mailpit.setTags({ IDs: [id], Tags: ["one", "two words"] }), (text) => text === "ok");
await call("renameTag", () => mailpit.renameTag("two words", "two"), (text) => text === "ok");
await call("deleteTag", () => mailpit.deleteTag("one"), (text) => text === "ok");
await call("getTags", () => mailpit.getTags(), (tags) => tags.join() === "two");
await call("getInfo", () => mailpit.getInfo(), (info) => info.Messages === 1 && info.Tags.two === 1);
await call("htmlCheck", () => mailpit.htmlCheck(id), (found) => found.Total.Nodes === 2 && Array.isArray(found.Warnings) && found.Platforms.ios.includes("Gmail"));
await call("releaseMessage", () => mailpit.releaseMessage(id, { To: ["x@example.com"] }), (text) => text === "ok");
await call("deleteMessagesBySearch", () => mailpit.deleteMessagesBySearch({ query: "-tag:two" }), (text) => text === "ok");
await call("deleteMessages", () => mailpit.deleteMessages({ IDs: [id] }), (text) => text === "ok");
// What the server does not offer
await call("getConfiguration", () => mailpit.getConfiguration());
await call("getAttachmentThumbnail", () => mailpit.getAttachmentThumbnail(id, "1"));
await call("linkCheck", () => mailpit.linkCheck(id));
await call("spamAssassinCheck", () => mailpit.spamAssassinCheck(id));
await call("getChaosTriggers", () => mailpit.getChaosTriggers());
await call("setChaosTriggers", () => mailpit.setChaosTriggers({}));
console.log(JSON.stringify(results));
