# Heroku reads this when a dyno starts, one-off ones too: it puts `recall-links` on the path.
export PATH="$HOME/bin:$PATH"
