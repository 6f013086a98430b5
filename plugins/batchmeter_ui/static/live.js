// Says so while the page is not up to date.
const bar = on => { const found = document.getElementById('offline'); if (found) found.hidden = !on; };
document.addEventListener('htmx:sse:error', () => bar(true));
document.addEventListener('htmx:sse:after:connection', () => bar(false));
document.addEventListener('htmx:sse:close', event => bar(event.detail.reason === 'message'));
