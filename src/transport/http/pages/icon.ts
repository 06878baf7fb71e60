/** The mark of the pages, for the browser's tab. Served as the style sheet is, under a name that holds its hash. */
import { createHash } from 'node:crypto';

export const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="6" fill="#3a3fc4"/>' +
  '<path d="M7 8.5h10M12 8.5V17" stroke="#fff" stroke-width="2.4" stroke-linecap="round" fill="none"/></svg>\n';

/** Where browsers find the mark. */
export const iconPath = `/assets/identity.${createHash('sha256').update(icon).digest('hex').slice(0, 12)}.svg`;
