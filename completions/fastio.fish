# Completion for fastio 0.1.0. Made by "make generate"; do not edit.

# What may stand at a place: the next words after a group, the options of "COMMAND -", the value of
# "COMMAND --OPTION", argument N of "COMMAND N". Prints words, or :KIND; fails if there is no such.
function __fastio_table
    switch "$argv"
        case ''
            printf '%s\n' 'workspace'\t'Create, list and remove workspaces' \
                'state'\t'Read and change JSON state objects' \
                'file'\t'Store, read and manage files' \
                'lock'\t'Take turns: exclusive locks that expire' \
                'event'\t'Read and watch the log of all changes' \
                'audit'\t'Prove that the log was not tampered with' \
                'org'\t'Share a server: orgs, and handing one over' \
                'member'\t'Give people and agents their roles' \
                'token'\t'Make and end the tokens that let them in' \
                'index'\t'Look after the search index' \
                'import'\t'Fetch files from URLs into the workspace: fastio import URL...' \
                'job'\t'Look after the work that is done in the background' \
                'store'\t'Move whole stores between folders and databases' \
                'profile'\t'Choose among the servers you are logged in at' \
                'config'\t'Show and change settings' \
                'init'\t'Make a store for this folder and those below it.' \
                'use'\t'Choose the workspace that commands work in from now on.' \
                'query'\t'Find the passages of a workspace that answer a query best, by words and by meaning.' \
                'ask'\t'Answer a question from what the workspace holds, each sentence with its source.' \
                'context'\t'Pack what a prompt needs to go on: the session\'s summary, then the best passages.' \
                'batch'\t'Run operations from NDJSON on standard input, in one process.' \
                'serve'\t'Turn this store into a service for a team.' \
                'login'\t'Work on a server from now on.' \
                'logout'\t'Forget the token for a server.' \
                'whoami'\t'Show who one is: org, member, role, and what the token is for.' \
                'backup'\t'Copy the whole store into one file, while it is in use.' \
                'restore'\t'Replace the whole store by what a backup file holds.' \
                'doctor'\t'Check the installation and the store, and say how to mend what is wrong.' \
                'demo'\t'Watch three agents share one state object, and one of them die.' \
                'help'\t'Show help for a command, or all commands as JSON.'
        case 'workspace'
            printf '%s\n' 'create'\t'Create a workspace.' \
                'list'\t'List the workspaces by name (or, with ``deleted``, those that can be restored).' \
                'show'\t'Show a workspace: how many objects and bytes it holds, and its last event.' \
                'usage'\t'Show what a workspace holds, by kind, and what its history and locks add.' \
                'rename'\t'Give a workspace another name.' \
                'delete'\t'Delete a workspace; nothing in it is lost until it is purged, and it can be restored.' \
                'restore'\t'Bring back the workspace of this name that was deleted last.' \
                'intelligence'\t'Turn the search over a workspace on or off; off, nothing of it stays in the index.'
        case 'state'
            printf '%s\n' 'get'\t'Read one state object, whole or a part of it.' \
                'set'\t'Write one state object, or the value at a pointer inside it.' \
                'init'\t'Write a default only if nothing is there; read what is there otherwise.' \
                'patch'\t'Change parts of one state object, leaving the rest as it is.' \
                'append'\t'Append a value to an array of a state object.' \
                'increment'\t'Add to a number in a state object, and read the sum.' \
                'transact'\t'Apply several changes to several objects of one workspace, all or nothing.' \
                'wait'\t'Wait until a JMESPath expression over a state object is true, and read the object.' \
                'list'\t'List the state objects by path.' \
                'schema'\t'Read the JSON Schema that a state object has to satisfy (null: none).' \
                'edit'\t'Change a state object in your editor ($VISUAL or $EDITOR).' \
                'history'\t'List the versions of an object, newest first.' \
                'diff'\t'Show what changed between two versions of an object (default: the last two).' \
                'restore'\t'Bring back an earlier version of an object as its newest.' \
                'delete'\t'Delete an object; its history stays and it can be restored.'
        case 'file'
            printf '%s\n' 'put'\t'Write a file.' \
                'append'\t'Append bytes to a file, at the price of what is appended; creates it if need be.' \
                'get'\t'Read the bytes of an object, whole or a range of them.' \
                'list'\t'List objects by path, a page at a time.' \
                'info'\t'Show what stands at a path: kind, version, etag, size, author and times.' \
                'move'\t'Move an object to another path of its workspace.' \
                'copy'\t'Copy an object to another path of its workspace; large contents are shared, not copied.' \
                'history'\t'List the versions of an object, newest first.' \
                'diff'\t'Show what changed between two versions of an object (default: the last two).' \
                'restore'\t'Bring back an earlier version of an object as its newest.' \
                'delete'\t'Delete an object; its history stays and it can be restored.'
        case 'lock'
            printf '%s\n' 'acquire'\t'Take the lock on a path, waiting in line for it if asked to.' \
                'renew'\t'Extend a lock you hold, from now, by its ttl or another.' \
                'release'\t'Give back a lock you hold; the next in line gets it.' \
                'show'\t'Show who holds the lock on a path, why and until when.' \
                'list'\t'List the live locks of a workspace by path.' \
                'break'\t'Take a lock away from its holder; the audit log says who did, and why.' \
                'run'\t'Run a command while holding a lock.'
        case 'event'
            printf '%s\n' 'list'\t'List events in the order they happened.' \
                'watch'\t'Print events as they happen, one JSON line each.'
        case 'audit'
            printf '%s\n' 'verify'\t'Recompute the hash chain of the event log and say whether it holds.'
        case 'org'
            printf '%s\n' 'create'\t'Create an org with a workspace \'default\'; whoever creates it owns it.' \
                'show'\t'Show the org: its owners and how many workspaces it has.' \
                'usage'\t'Show what the org uses of its storage and of this month\'s credits.' \
                'transfer'\t'Hand the org over to a new owner, or take one over.'
        case 'member'
            printf '%s\n' 'list'\t'List the members with their roles in the org and in single workspaces.' \
                'set'\t'Give somebody a role, in the org or in one workspace only.' \
                'remove'\t'Take a role away, in the org or in one workspace; its tokens stop working there at once.'
        case 'token'
            printf '%s\n' 'create'\t'Make a token for a member (default: oneself); it is shown this once.' \
                'list'\t'List the org\'s tokens (those who are not admin see their own).' \
                'revoke'\t'End a token at once: one\'s own, or as an admin anybody\'s.'
        case 'index'
            printf '%s\n' 'status'\t'Show how far the search index has come, and which objects it could not read.' \
                'rebuild'\t'Drop the search index and begin it anew; the next searches finish it.' \
                'clear'\t'Drop the search index; the next search makes it again from the log.'
        case 'import'
            printf '%s\n' 'add'\t'Fetch files from URLs into the workspace.' \
                'list'\t'List imports, newest first; with a path, where its contents came from.' \
                'show'\t'Show one import, waiting for its end if asked to.' \
                'cancel'\t'Stop an import that has not ended; nothing of it is kept.' \
                'retry'\t'Try a failed or cancelled import again.' \
                'login'\t'Let imports read your private files at a file service.' \
                'logout'\t'Revoke and forget a login at a file service.' \
                'accounts'\t'List the file services and where you are logged in.'
        case 'job'
            printf '%s\n' 'list'\t'List the jobs of a workspace, those that were queued last first.' \
                'show'\t'Show one job: when it is due or how it ended, its attempts, and why it failed.' \
                'retry'\t'Have a job run at once that ended, or that waits for its next attempt.' \
                'cancel'\t'Stop a job that has not ended; what it works on is cancelled with it.'
        case 'store'
            printf '%s\n' 'copy'\t'Copy a whole store into an empty one, and compare them.'
        case 'profile'
            printf '%s\n' 'list'\t'List the servers you are logged in at, and the local store.' \
                'use'\t'Work with another profile from now on; local is this machine.' \
                'remove'\t'Forget a profile and its token.'
        case 'config'
            printf '%s\n' 'show'\t'Show the settings in force and where each comes from.' \
                'set'\t'Set a setting, for you, this project or the profile that --profile names.' \
                'unset'\t'Forget a setting.'
        case ' -'
            printf '%s\n' '--workspace'\t'The workspace to work in' \
                '-w'\t'The workspace to work in' \
                '--store'\t'The store: a folder, a database or a server' \
                '--profile'\t'The server to work on, as fastio login named it; local is this machine' \
                '--format'\t'How results are printed (default: table at a terminal, else json)' \
                '--json'\t'Short for --format json' \
                '--fields'\t'Only these fields of the result, as a,b.c' \
                '--quiet'\t'Print only the essential value, such as a token' \
                '-q'\t'Print only the essential value, such as a token' \
                '--actor'\t'Who acts, in the event log' \
                '--help'\t'Show help'
        case 'workspace create -'
            printf '%s\n' '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'workspace list -'
            printf '%s\n' '--deleted'\t'Those that were deleted and can be restored' \
                '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'workspace rename -'
            printf '%s\n' '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'workspace delete -'
            printf '%s\n' '--yes'\t'Do not ask' \
                '-y'\t'Do not ask' \
                '--dry-run'\t'Only show what would be deleted' \
                '-n'\t'Only show what would be deleted' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'workspace restore -'
            printf '%s\n' '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'state get -'
            printf '%s\n' '--at'\t'JSON Pointer into the document, as /steps/0' \
                '--query'\t'JMESPath expression, as log[-1]' \
                '--version'\t'This version instead of the newest'
        case 'state set -'
            printf '%s\n' '--at'\t'JSON Pointer into the document, as /steps/0' \
                '--schema'\t'JSON Schema that every version has to satisfy: JSON, @FILE or -' \
                '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'state init -'
            printf '%s\n' '--schema'\t'JSON Schema that every version has to satisfy: JSON, @FILE or -' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'state patch -'
            printf '%s\n' '--json-patch'\t'The patch is an RFC 6902 list of operations' \
                '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'state append -'
            printf '%s\n' '--at'\t'JSON Pointer into the document, as /steps/0' \
                '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'state increment -'
            printf '%s\n' '--at'\t'JSON Pointer into the document, as /steps/0' \
                '--by'\t'What to add (default: 1)' \
                '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'state transact -'
            printf '%s\n' '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'state wait -'
            printf '%s\n' '--timeout'\t'Give up after (default: 60s)'
        case 'state list -'
            printf '%s\n' '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'state edit -'
            printf '%s\n' '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'
        case 'state history -'
            printf '%s\n' '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'state diff -'
            printf '%s\n' '--from'\t'The older version (default: the one before)' \
                '--to'\t'The newer version (default: the newest)'
        case 'state restore -'
            printf '%s\n' '--version'\t'This version instead of the newest' \
                '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'state delete -'
            printf '%s\n' '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'file put -'
            printf '%s\n' '--recursive'\t'Store a folder with all files below it' \
                '-r'\t'Store a folder with all files below it' \
                '--dry-run'\t'Only say which files a folder would store, and where' \
                '-n'\t'Only say which files a folder would store, and where' \
                '--media-type'\t'Default: what the name says' \
                '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'file append -'
            printf '%s\n' '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'file get -'
            printf '%s\n' '--output'\t'Write to this file instead of stdout' \
                '-o'\t'Write to this file instead of stdout' \
                '--version'\t'This version instead of the newest' \
                '--offset'\t'Begin at this byte' \
                '--length'\t'At most this many bytes'
        case 'file list -'
            printf '%s\n' '--type'\t'Only objects of this kind' \
                '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'file move -'
            printf '%s\n' '--overwrite'\t'Replace what stands at the new path' \
                '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'file copy -'
            printf '%s\n' '--overwrite'\t'Replace what stands at the new path' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'file history -'
            printf '%s\n' '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'file diff -'
            printf '%s\n' '--from'\t'The older version (default: the one before)' \
                '--to'\t'The newer version (default: the newest)'
        case 'file restore -'
            printf '%s\n' '--version'\t'This version instead of the newest' \
                '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'file delete -'
            printf '%s\n' '--if-version'\t'Only if the object is at this version (0: does not exist)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'lock acquire -'
            printf '%s\n' '--ttl'\t'Ends by itself after (default: 60s)' \
                '--wait'\t'Wait in line for at most' \
                '--purpose'\t'Why, for those who find it locked' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'lock renew -'
            printf '%s\n' '--ttl'\t'Ends by itself after (default: 60s)' \
                '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'lock release -'
            printf '%s\n' '--lock-token'\t'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'lock list -'
            printf '%s\n' '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'lock break -'
            printf '%s\n' '--reason'\t'Why, for the audit log' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'lock run -'
            printf '%s\n' '--ttl'\t'Ends by itself after (default: 60s)' \
                '--wait'\t'Wait in line for at most' \
                '--purpose'\t'Why, for those who find it locked'
        case 'event list -'
            printf '%s\n' '--after'\t'Only events after this number' \
                '--type'\t'Only events of this type, as \'state.*\'' \
                '--path'\t'Only events of paths like this, as \'plans/*\'' \
                '--limit'\t'At most this many (default: 50)'
        case 'event watch -'
            printf '%s\n' '--after'\t'Only events after this number' \
                '--type'\t'Only events of this type, as \'state.*\'' \
                '--path'\t'Only events of paths like this, as \'plans/*\'' \
                '--count'\t'End after this many events' \
                '--timeout'\t'End after this time'
        case 'audit verify -'
            printf '%s\n' '--head-seq'\t'Number of an event whose hash you kept' \
                '--head-hash'\t'The hash you kept'
        case 'org create -'
            printf '%s\n' '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'org transfer -'
            printf '%s\n' '--name'\t'Who you are in the org you claim' \
                '--expires'\t'Ends by itself after' \
                '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'member list -'
            printf '%s\n' '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'member set -'
            printf '%s\n' '--in-workspace'\t'Only in this workspace' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'member remove -'
            printf '%s\n' '--in-workspace'\t'Only in this workspace' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'token create -'
            printf '%s\n' '--role'\t'At most this role' \
                '--scope'\t'Only operations like this, as \'state.*\'' \
                '--in-workspace'\t'Only in this workspace' \
                '--expires'\t'Ends by itself after' \
                '--label'\t'What it is for' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'token list -'
            printf '%s\n' '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'token revoke -'
            printf '%s\n' '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'index rebuild -'
            printf '%s\n' '--wait'\t'First finish the vectors of everything written, showing progress'
        case 'import add -'
            printf '%s\n' '--to'\t'The path, or a folder with / at its end' \
                '--name'\t'Name of the file in its folder (default: the server\'s)' \
                '--from-file'\t'Also the URLs in this file, one a line' \
                '--sha256'\t'Only if the bytes have this checksum' \
                '--header-file'\t'Send the headers in this file, \'Name: value\' a line' \
                '--on-conflict'\t'Where something stands: its next version, a numbered name, or fail' \
                '--max-size'\t'Refuse larger files, as 500MB' \
                '--wait'\t'Wait for the end also when the store is remote' \
                '--timeout'\t'Wait for the end, at most' \
                '--lock-token'\t'Token of the lock you hold on the path; @FILE or - to read it' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'import list -'
            printf '%s\n' '--state'\t'Only those in this state' \
                '--path'\t'Only those to this path' \
                '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'import show -'
            printf '%s\n' '--wait'\t'Wait for its end for at most'
        case 'import cancel -'
            printf '%s\n' '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'import retry -'
            printf '%s\n' '--header-file'\t'Send the headers in this file, \'Name: value\' a line' \
                '--wait'\t'Wait for the end also when the store is remote' \
                '--timeout'\t'Wait for the end, at most' \
                '--lock-token'\t'Token of the lock you hold on the path; @FILE or - to read it' \
                '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'import login -'
            printf '%s\n' '--device'\t'Log in on another device, by a code'
        case 'job list -'
            printf '%s\n' '--state'\t'Only those in this state' \
                '--kind'\t'Only those of this kind, as import or index' \
                '--limit'\t'At most this many (default: 50)' \
                '--cursor'\t'Go on where the last page ended'
        case 'job retry -'
            printf '%s\n' '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'job cancel -'
            printf '%s\n' '--idempotency-key'\t'Repeating the command with this key changes nothing more, for a day'
        case 'store copy -'
            printf '%s\n' '--source-blobs'\t'Where a source database keeps large files' \
                '--target-blobs'\t'Where a target database keeps large files' \
                '--progress'\t'Show how far it is'
        case 'config set -'
            printf '%s\n' '--project'\t'In this project\'s settings instead of yours'
        case 'config unset -'
            printf '%s\n' '--project'\t'In this project\'s settings instead of yours'
        case 'use -'
            printf '%s\n' '--create'\t'Create it if there is none of this name'
        case 'query -'
            printf '%s\n' '--path'\t'Only objects whose path matches, as \'notes/*\'' \
                '--type'\t'Only objects of this kind' \
                '--since'\t'Only what changed in the last, as 7d' \
                '--limit'\t'At most this many (default: 10)' \
                '--mode'\t'How to search' \
                '--all-workspaces'\t'Search every workspace' \
                '--explain'\t'Show how the results were ranked' \
                '--wait'\t'First finish the vectors of everything written, showing progress'
        case 'ask -'
            printf '%s\n' '--path'\t'Only objects whose path matches, as \'notes/*\'' \
                '--type'\t'Only objects of this kind' \
                '--since'\t'Only what changed in the last, as 7d' \
                '--session'\t'State object that keeps the conversation' \
                '--model'\t'The chat model to ask (default: the setting chat_model)' \
                '--endpoint'\t'The chat endpoint to ask (default: the setting chat_url)' \
                '--wait'\t'First finish the vectors of everything written, showing progress'
        case 'context -'
            printf '%s\n' '--budget'\t'At most this many tokens (default: 2000)' \
                '--summary'\t'State object that comes first (default: session_summary.json)' \
                '--path'\t'Only objects whose path matches, as \'notes/*\'' \
                '--type'\t'Only objects of this kind' \
                '--since'\t'Only what changed in the last, as 7d' \
                '--wait'\t'First finish the vectors of everything written, showing progress'
        case 'batch -'
            printf '%s\n' '--stop'\t'Stop at the first operation that fails'
        case 'serve -'
            printf '%s\n' '--host'\t'Address to listen on (default: 127.0.0.1)' \
                '--port'\t'Port to listen on (default: 8787)' \
                '--workers'\t'Processes (default: 1)' \
                '--tls-certificate'\t'PEM file with the certificate' \
                '--tls-key'\t'PEM file with its key' \
                '--behind-proxy'\t'A proxy in front encrypts and says who the client is' \
                '--no-access-log'\t'Do not write a line for every request'
        case 'login -'
            printf '%s\n' '--token'\t'@FILE, or - for standard input (default: asked)' \
                '--ca-file'\t'Certificate authorities to trust besides the public ones'
        case 'backup -'
            printf '%s\n' '--overwrite'\t'Replace the file if it exists'
        case 'restore -'
            printf '%s\n' '--yes'\t'Do not ask' \
                '-y'\t'Do not ask'
        case 'doctor -'
            printf '%s\n' '--sweep'\t'Also remove stored bytes that nothing has used for a day'
        case '* --workspace' '* -w' '* --in-workspace'
            printf '%s\n' ':workspace'
        case '* --store'
            printf '%s\n' ':folder'
        case '* --profile'
            printf '%s\n' ':profile'
        case '* --format'
            printf '%s\n' 'table' \
                'json' \
                'jsonl' \
                'markdown' \
                'raw'
        case '* --fields' '* --actor' '* --idempotency-key' '* --limit' '* --cursor' '* --at' '* --query' '* --version' '* --schema' '* --if-version' '* --lock-token' '* --by' '* --timeout' '* --from' 'state diff --to' 'file diff --to' '* --media-type' '* --offset' '* --length' 'event list --type' 'event watch --type' '* --ttl' 'lock acquire --wait' 'lock run --wait' 'import show --wait' '* --purpose' '* --reason' '* --after' 'event list --path' 'event watch --path' 'query --path' 'ask --path' 'context --path' '* --count' '* --head-seq' '* --head-hash' '* --name' '* --expires' '* --scope' '* --label' '* --sha256' '* --max-size' '* --kind' '* --source-blobs' '* --target-blobs' '* --since' '* --session' '* --model' '* --endpoint' '* --budget' '* --summary' '* --host' '* --port' '* --workers' '* --token'
            printf '%s\n' ':nothing'
        case 'import add --to' 'import list --path'
            printf '%s\n' ':path'
        case '* --output' '* -o' '* --from-file' '* --header-file' '* --tls-certificate' '* --tls-key' '* --ca-file'
            printf '%s\n' ':file'
        case 'file list --type'
            printf '%s\n' 'state' \
                'file'
        case 'query --type' 'ask --type' 'context --type'
            printf '%s\n' 'file' \
                'state'
        case '* --role'
            printf '%s\n' 'viewer' \
                'editor' \
                'admin' \
                'owner'
        case '* --on-conflict'
            printf '%s\n' 'version' \
                'rename' \
                'fail'
        case '* --state'
            printf '%s\n' 'queued' \
                'running' \
                'done' \
                'failed' \
                'cancelled'
        case '* --mode'
            printf '%s\n' 'hybrid' \
                'semantic' \
                'lexical'
        case 'workspace create 0' 'workspace show 0' 'workspace usage 0' 'workspace rename 0' 'workspace delete 0' 'workspace restore 0' 'use 0'
            printf '%s\n' ':workspace'
        case 'workspace rename 1' 'workspace intelligence 0' 'state set 1' 'state init 1' 'state patch 1' 'state append 1' 'state transact 0' 'state wait 1' 'state list 0' 'file append 1' 'file list 0' 'lock list 0' 'org create 0' 'org transfer 0' 'org transfer 1' 'member set 0' 'member set 1' 'member remove 0' 'token create 0' 'token revoke 0' 'import add 0' 'import show 0' 'import cancel 0' 'import retry 0' 'import login 0' 'import logout 0' 'job show 0' 'job retry 0' 'job cancel 0' 'store copy 0' 'store copy 1' 'config set 1' 'query 0' 'ask 0' 'context 0' 'login 0'
            printf '%s\n' ':nothing'
        case 'state get 0' 'state set 0' 'state init 0' 'state patch 0' 'state append 0' 'state increment 0' 'state wait 0' 'state schema 0' 'state edit 0' 'state history 0' 'state diff 0' 'state restore 0' 'state delete 0' 'file put 1' 'file append 0' 'file get 0' 'file info 0' 'file move 0' 'file move 1' 'file copy 0' 'file copy 1' 'file history 0' 'file diff 0' 'file restore 0' 'file delete 0' 'lock acquire 0' 'lock renew 0' 'lock release 0' 'lock show 0' 'lock break 0' 'lock run 0'
            printf '%s\n' ':path'
        case 'file put 0' 'backup 0' 'restore 0'
            printf '%s\n' ':file'
        case 'lock run 1'
            printf '%s\n' ':command'
        case 'profile use 0' 'profile remove 0' 'logout 0'
            printf '%s\n' ':profile'
        case 'config show 0' 'config set 0' 'config unset 0'
            printf '%s\n' 'store' \
                'profile' \
                'blobs' \
                'workspace' \
                'actor' \
                'format' \
                'durability' \
                'file_bytes_max' \
                'storage_bytes_max' \
                'metered' \
                'credits_per_month' \
                'org_bytes_max' \
                'rate_per_s' \
                'retry_s' \
                'ca_file' \
                'versions_max' \
                'embedding_url' \
                'embedding_model' \
                'chat_url' \
                'chat_model' \
                'egress_allow' \
                'egress_ports' \
                'egress_ca_file' \
                'import_parallel' \
                'import_attempts_max' \
                'import_retry_ms' \
                'import_timeout_s' \
                'import_stall_s' \
                'import_buckets' \
                'import_endpoints' \
                'secret_key_file' \
                'google_client_id' \
                'google_client_secret' \
                'onedrive_client_id' \
                'onedrive_client_secret' \
                'dropbox_client_id' \
                'dropbox_client_secret' \
                'box_client_id' \
                'box_client_secret'
        case 'lock run *'
            printf '%s\n' ':file'
        case 'import add *'
            printf '%s\n' ':nothing'
        case '*'
            return 1
    end
end

function __fastio
    set -l current (commandline -ct)
    set -l words (commandline -opc)
    set -l command ''
    set -l position 0
    set -l option ''
    set -l plain ''
    set -l context
    for word in $words[2..-1]
        if test -n "$option"
            contains -- $option --workspace -w --store --profile; and set -a context $option $word
            set option ''
        else if test -z "$plain"; and test "$word" = --
            set plain yes
        else if test -z "$plain"; and string match -q -- '--*=*' $word
            string match -qr -- '^--(workspace|store|profile)=' $word; and set -a context $word
        else if test -z "$plain"; and string match -qr -- '^-.' $word
            __fastio_table "$command $word" >/dev/null; and set option $word
        else if test -z "$command"
            test "$word" = help; or set command $word
        else if __fastio_table "$command" >/dev/null
            set command "$command $word"
        else
            set position (math $position + 1)
        end
    end
    set -l prefix ''
    if test -z "$plain$option"; and string match -q -- '--*=*' $current
        set option (string split -m 1 -f 1 = -- $current)
        set prefix "$option="
        set current (string split -m 1 -f 2 = -- $current)
    end
    set -l offered
    if test -n "$option"
        set offered (__fastio_table "$command $option")
    else if test -z "$plain"; and string match -q -- '-*' $current
        set offered (__fastio_table "$command -") (__fastio_table ' -')
    else if set offered (__fastio_table "$command")
        # the next word of the command
    else
        set offered (__fastio_table "$command $position")
    end
    switch "$offered[1]"
        case :path :workspace :profile
            set -l kind (string sub -s 2 -- $offered[1])
            set offered (command fastio complete $context $kind -- "$current" 2>/dev/null)
        case :file
            set offered (__fish_complete_path "$current")
        case :folder
            set offered (__fish_complete_directories "$current" '')
        case :command
            set offered (__fish_complete_command)
        case :nothing
            set offered
            if string match -q -- '@*' "$current"
                set offered @(__fish_complete_path (string sub -s 2 -- "$current"))
            end
    end
    for word in $offered
        echo -- $prefix$word
    end
end

complete -c fastio -f -a '(__fastio)'
