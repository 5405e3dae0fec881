"""Edits on the text a rule saw: built (`build`), applied (`engine`), shown (`diff`) and written (`write`)."""
