-- Messages with buttons, and the progress of downloads.
local M = {}

local is_waiting = false -- whether a question waits for the end of insert mode
local running = {} -- by client and token: downloads

local function is_typing()
  return vim.startswith(vim.api.nvim_get_mode().mode, 'i')
end

--- Ask with buttons. In insert mode the question waits: a menu would take the user's keys.
function M.ask(params)
  local asking = coroutine.running()
  local function ask()
    vim.ui.select(params.actions or {}, {
      kind = 'starcoder',
      prompt = params.message,
      format_item = function(action)
        return action.title
      end,
    }, function(choice)
      vim.schedule(function() -- not before the coroutine waits
        coroutine.resume(asking, choice or vim.NIL)
      end)
    end)
  end
  if is_typing() then
    vim.notify('starcoder: a question waits, press Escape') -- which the next redraw may remove; the status line keeps it
    is_waiting = true
    vim.cmd.redrawstatus({ bang = true })
    vim.api.nvim_create_autocmd('InsertLeave', {
      once = true,
      callback = vim.schedule_wrap(function()
        is_waiting = false
        ask()
      end),
    })
  else
    vim.schedule(ask)
  end
  return coroutine.yield()
end

--- Remember a download, which the user may cancel.
function M.follow(client_id, params)
  local value = params.value
  local token = client_id .. ':' .. params.token
  if value.kind == 'begin' and vim.startswith(value.title, 'Downloading') then
    running[token] = { client_id = client_id, token = params.token, title = value.title, percentage = 0 }
  elseif value.kind == 'report' and running[token] then
    running[token].percentage = value.percentage or running[token].percentage
  elseif value.kind == 'end' then
    running[token] = nil
  end
  vim.cmd.redrawstatus({ bang = true })
end

--- Cancel the downloads of a client. What came of them is kept.
function M.cancel(client, call)
  for _, work in pairs(running) do
    if work.client_id == client.id then
      call(client, 'notify', 'window/workDoneProgress/cancel', { token = work.token })
    end
  end
end

--- For a status line: a question that waits, a download, or nothing.
function M.progress(client_id)
  if is_waiting then
    return 'a question waits, press Escape'
  end
  for _, work in pairs(running) do
    if work.client_id == client_id then
      return ('%s %d%%'):format(work.title:lower(), work.percentage)
    end
  end
end

return M
