-- Which side wanted a suspension: 'office', 'subscriber'; null is of before it was asked.
alter table feed add column suspended_side text;
