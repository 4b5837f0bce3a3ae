// A test in JavaScript: wait for a mail, and take the link and the code out of it. Plain fetch, no package.
//
//   maildir-safe serve                                # in another terminal
//   node examples/signup.mjs http://127.0.0.1:8025    # sends the mail itself, in place of the program under test
//
// With Playwright, `page.goto(mail.links[0])` goes on from there.

const inbox = process.argv[2] ?? "http://127.0.0.1:8025";

async function ask(path, options) {
  const answer = await fetch(new URL(path, inbox), options);
  const found = await answer.json();
  if (!answer.ok) throw new Error(`${answer.status} ${found.error ?? found.Error}`);
  return found;
}

/** The newest mail to an address, as soon as there is one, with its `links`, its `code` and its `text`. */
async function mailTo(address, subject = "", seconds = 10) {
  const wanted = new URLSearchParams({ to: address, subject, timeout: seconds });
  const { key } = await ask(`api/wait?${wanted}`);
  return { ...(await ask(`api/messages/${key}`)), ...(await ask(`api/messages/${key}/links`)) };
}

await ask("api/v1/send", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({
    From: { Email: "shop@example.com" },
    To: [{ Email: "ada@example.com" }],
    Subject: "Welcome",
    Text: "Your code is 481 206, or open https://shop.example/confirm/42.",
  }),
});

const mail = await mailTo("ada@example.com", "welcome");
console.log(mail.subject, mail.code, mail.links[0]);
