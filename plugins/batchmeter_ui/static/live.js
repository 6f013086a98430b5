// Says so while the page is not up to date, and reads it again after half a minute.
let again;
const bar = on => {
  const found = document.getElementById('offline');
  if (found) found.hidden = !on;
  clearTimeout(again);
  if (on) again = setTimeout(() => document.hidden ? bar(true) : location.reload(), 30000);
};
for (const failure of ['htmx:sse:error', 'htmx:response:error', 'htmx:error']) // the last two: of the first connection
  document.addEventListener(failure, () => bar(true));
document.addEventListener('htmx:sse:after:connection', () => bar(false));
document.addEventListener('htmx:sse:close', event => bar(event.detail.reason === 'message'));
